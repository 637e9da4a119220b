// The exit codes of batonctl, and which of them a task's end becomes. docs/exit-codes in `--help` of the
// verbs.
#pragma once

#include <string>

#include "ipc/baton.capnp.h"

namespace baton::ctl {

inline constexpr int kExitNotToBeHad = 1;  // -n, and there is no slot now
inline constexpr int kExitTimedOut = 124;  // a time limit
inline constexpr int kExitBaton = 125;     // usage, no daemon, refused, unknown id, worker lost
inline constexpr int kExitNotExecutable = 126;
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitSignalBase = 128;  // + the signal's number
inline constexpr int kExitOom = 137;
inline constexpr int kExitCancelled = 143;

struct Outcome {
  int code = 0;
  std::string line;  // for stderr, escaped, without "batonctl: "; empty where the code says it all
};

// `row` must have ended. `refusedToWait`: it was submitted with -n, so that the end of its queue limit means
// "not to be had".
Outcome outcomeOf(ipc::wire::TaskRow::Reader row, bool refusedToWait = false);

bool hasEnded(ipc::wire::State state);
// For a batch: every task has ended, and no more can come.
bool hasEnded(ipc::wire::BatchRow::Reader row);

// "KILL" for 9; "RTMIN+2"; the number for what is no signal.
std::string signalName(int signal);
// Number of "KILL", "SIGKILL", "kill", "9", "RTMIN+2"; 0: no such signal.
int signalNumber(const std::string& name);

}  // namespace baton::ctl
