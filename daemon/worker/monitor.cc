#include "daemon/worker/monitor.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "daemon/worker/monitor_process.h"
#include "ipc/error.h"

namespace baton::worker {

Monitor::Monitor(const LaunchPlan& plan, const ChildStack& stack, const Options& options) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    throwErrno("cannot make a line to a monitor process");
  }
  line_ = shm::Fd(ends[0]);
  shm::Fd theirs(ends[1]);
  pid_ = forkInto(plan.cgroupProcesses);
  if (pid_ < 0) {
    throwErrno("cannot start a monitor process");
  }
  if (pid_ == 0) {
    line_.reset();
    for (const int fd : options.close) {
      if (fd >= 0) ::close(fd);
    }
    MonitorProcess(std::move(theirs), plan, stack, options.holder).run();
  }
  theirs.reset();
  awaitBirth();
}

// A signal that found nobody would be lost: a command that waits for a FIFO would never know of it. The end
// of the monitor ends this, too, as it ends the line.
void Monitor::awaitBirth() const {
  pollfd line{line_.get(), POLLIN, 0};
  while (::poll(&line, 1, -1) < 0) {
  }
}

std::optional<MonitorEvent> Monitor::next() {
  constexpr ssize_t kBirth = 1;
  MonitorEvent event;
  ssize_t got = 0;
  do {
    got = ::recv(line_.get(), &event, sizeof(event), MSG_DONTWAIT);
  } while (got == kBirth || (got < 0 && errno == EINTR));
  if (got == static_cast<ssize_t>(sizeof(event))) return event;
  if (got >= 0 || errno != EAGAIN) closed_ = true;
  return std::nullopt;
}

void Monitor::resume(bool foreground) {
  const char word = foreground ? 'F' : 'B';
  ::send(line_.get(), &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace baton::worker
