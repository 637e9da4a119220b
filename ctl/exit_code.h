// With what batonctl exits when a task has ended, and what it says of that; and the names of signals.
#pragma once

#include <string>

#include "ipc/baton.capnp.h"
#include "ipc/exit_code.h"

namespace baton::ctl {

using ipc::kExitBaton;
using ipc::kExitCancelled;
using ipc::kExitClosed;
using ipc::kExitNotExecutable;
using ipc::kExitNotFound;
using ipc::kExitNotToBeHad;
using ipc::kExitOom;
using ipc::kExitSignalBase;
using ipc::kExitTimedOut;

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
