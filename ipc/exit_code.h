// The exit codes of baton, and which of them a task's end becomes: one rule for the daemon, which sorts by
// it, and for whoever exits with it. README.md has the table.
#pragma once

#include "ipc/baton.capnp.h"

namespace baton::ipc {

constexpr int kExitNotToBeHad = 1;  // -n, and there is no slot now
constexpr int kExitClosed = 3;      // a queue that was closed; for gets: and is empty
constexpr int kExitTimedOut = 124;  // a time limit
constexpr int kExitBaton = 125;     // usage, no daemon, refused, unknown id, worker lost, daemon stopped
constexpr int kExitNotExecutable = 126;
constexpr int kExitNotFound = 127;
constexpr int kExitSignalBase = 128;  // + the signal's number
constexpr int kExitOom = 137;
constexpr int kExitCancelled = 143;

struct TaskEnd {
  wire::State state;  // decides only where there is no cause
  wire::Cause cause;
  int exitCode;
  int signal;
};

int exitCodeOf(const TaskEnd& end);

}  // namespace baton::ipc
