// The signals sent to this process as something to poll. One per process; the main thread only.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>

#include "shm/fd.h"

namespace baton::ctl {

class SignalSource {
 public:
  // From here on every signal that a process can catch is kept for next(), but for those that it was told to
  // ignore (bit n-1 of `ignored`: signal n), those of a terminal that is read or written from the background
  // (they stop it, as they should) and those that report on children.
  explicit SignalSource(std::uint64_t ignored);
  // Signals do again what they did before; those that nobody took with next() do it now.
  ~SignalSource();
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  int fd() const { return fd_.get(); }
  // Does not block.
  std::optional<int> next();

  // Stops this process's group by SIGTSTP, SIGTTIN, SIGTTOU or SIGSTOP, as the terminal would, and returns
  // when it is continued. False: it was not stopped, since nobody is there who could continue it (POSIX: an
  // orphaned process group).
  [[nodiscard]] bool stopGroup(int signal);

 private:
  sigset_t before_{};
  sigset_t taken_{};
  shm::Fd fd_;
};

// Ends this process by `signal`, as if it had never been caught, so that a shell sees it and stops its loop.
// If the signal cannot end it (it was told to ignore it) the exit code is 128 + signal.
[[noreturn]] void endBySignal(int signal);
// The same for the whole process group, as the terminal does when a key interrupts: a shell script in it must
// be interrupted itself to see that it is not to go on.
[[noreturn]] void endGroupBySignal(int signal);

}  // namespace baton::ctl
