// The last subreaper of user mode: a tiny process above the daemon that ends whatever the daemon and its
// workers leave when they are killed, even at once.
#pragma once

namespace baton::daemon {

// Forks. Returns in the child, which becomes the daemon. The parent stays as the guard, and exits with the
// daemon's code once nothing is left below it.
void splitGuard();

}  // namespace baton::daemon
