// Making the pseudo-terminal of a task.
#pragma once

#include "shm/fd.h"

namespace baton::worker {

struct PseudoTerminal {
  shm::Fd master;  // for the client alone
  shm::Fd slave;   // for the task
};

// Throws Error(system).
PseudoTerminal makePseudoTerminal();

}  // namespace baton::worker
