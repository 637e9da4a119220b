// Ends what a dead worker leaves: its processes become children of this process (a subreaper) and are killed
// until none is left. Used by the daemon for its workers' and by the guard for the daemon's.
//
// Only direct children are ever signalled: nobody else can reap them, so their pids cannot be another's.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace baton::daemon {

// Pids of this process's children, zombies too.
std::vector<std::int32_t> ownChildren();

// The process name by which the holders of detached children are known; see worker/.
bool isHolderProcess(std::int32_t pid);

// SIGKILL to every child for which `spare` is false. How many were signalled.
std::size_t killStrays(const std::function<bool(std::int32_t)>& spare);

}  // namespace baton::daemon
