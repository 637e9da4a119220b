// The process between worker and command where there must be one, and the worker's end of the line to it:
// - for a pseudo-terminal: the session's leader must be another process than the command, or the command's
// group
//   would be orphaned and Ctrl-Z ignored; the monitor says who is in front of the terminal;
// - for detachChildren: as subreaper ("baton-holder") it keeps what the command leaves behind, until that
// ends;
// - for a file whose opening may block (a FIFO): it blocks in the worker's place.
//
//   worker                       monitor                       command
//     | fork -------------------> | launch --------------------> |
//     | <----------------------------------------------- is born |
//     | <------- started | failed |                              |
//     | <----- stopped, continued | <------------------- waitpid |
//     | continue(foreground) ---> | tcsetpgrp, SIGCONT --------> |
//     | <------------------ ended | <------------------- waitpid |
//
// When the line ends, the worker is gone: the monitor kills the command and exits. A holder first waits for
// the end of all that it keeps.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "daemon/worker/launch.h"
#include "shm/fd.h"

namespace baton::worker {

// One datagram.
struct MonitorEvent {
  enum class Kind : std::uint8_t { started, failed, stopped, continued, ended };
  Kind kind = Kind::ended;
  bool stays = false;       // ended: children are left, and this holder with them
  pid_t pid = 0;            // started: the command
  int status = 0;           // stopped: the signal; ended: as waitpid gives it
  LaunchFailure failure;    // failed
  std::int64_t userNs = 0;  // ended: used by what the monitor waited for
  std::int64_t systemNs = 0;
  std::uint64_t peakBytes = 0;
};

// The worker's end. Owns the line, not the process: that is a child to be waited for.
class Monitor {
 public:
  struct Options {
    bool holder = false;
    // Descriptors of the worker that the monitor must not keep from closing.
    std::array<int, 4> close{-1, -1, -1, -1};
  };
  // Starts the process; the plan is launched there. Blocks until the command's process is born, so that from
  // here on every signal to the task's processes reaches it. Throws Error(system).
  Monitor(const LaunchPlan& plan, const ChildStack& stack, const Options& options);

  pid_t pid() const { return pid_; }
  int fd() const { return line_.get(); }
  // Does not block. nullopt: nothing (more) has come; see ended().
  std::optional<MonitorEvent> next();
  // True if nothing will come any more.
  bool closed() const { return closed_; }
  // Continues the stopped command, in front of the terminal or behind.
  void resume(bool foreground);

 private:
  void awaitBirth() const;

  shm::Fd line_;
  pid_t pid_ = -1;
  bool closed_ = false;
};

}  // namespace baton::worker
