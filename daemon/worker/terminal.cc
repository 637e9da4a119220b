#include "daemon/worker/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstdlib>

#include "ipc/error.h"

namespace baton::worker {

PseudoTerminal makePseudoTerminal() {
  PseudoTerminal terminal;
  terminal.master = shm::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  int unlocked = 0;
  if (!terminal.master || ::ioctl(terminal.master.get(), TIOCSPTLCK, &unlocked) < 0) {
    throwErrno("cannot make a pseudo-terminal");
  }
  // By the master, not by name: another /dev/pts may be mounted where the task runs.
  terminal.slave = shm::Fd(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) {
    throwErrno("cannot open a pseudo-terminal");
  }
  return terminal;
}

}  // namespace baton::worker
