// The last subreaper of user mode: a tiny process above the daemon that ends whatever the daemon and its
// workers leave when they are killed, even at once.
#pragma once

#include <sys/types.h>

#include <string>

#include "shm/fd.h"

namespace baton::daemon {

// The daemon's side.
struct Guard {
  pid_t pid = 0;  // this process's parent; 0: there is no guard
  shm::Fd line;

  // What endCgroupTree is to be called for when the daemon is dead; said once.
  void tellCgroups(const std::string& base) const;
};

// Forks. Returns in the child, which becomes the daemon. The parent stays as the guard, and exits with the
// daemon's code once nothing is left below it.
Guard splitGuard();

}  // namespace baton::daemon
