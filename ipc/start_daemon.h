// Starting the user's daemon from a client, race-free. See locate.h for when.
#pragma once

#include "ipc/locate.h"

namespace baton::ipc {

// While it lives, no other client of this user starts a daemon. Blocks until the others are through.
class StartLock {
 public:
  explicit StartLock(const Places& places);

 private:
  shm::Fd file_;
};

// As the user unit where a user manager runs and the unit is installed, else as a child of nobody: setsid,
// cwd /, no inherited descriptor. Returns when the daemon listens. Throws Error(noDaemon) with its own words.
void startUserDaemon(const Places& places);

// Where this installation's `name` is: beside this program, or in the directories it is installed to.
std::string findProgram(const std::string& name);

}  // namespace baton::ipc
