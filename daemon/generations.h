// No lock is granted twice over a restart of the daemon: its clients may still believe that they hold some.
//
// Each daemon that grants locks has a *generation*: a number that only grows, and a file of that name. A
// client that takes locks holds a shared flock on the file of its daemon, and drops it when it has marked all
// of its locks lost. A new daemon grants nothing while somebody holds one on an older file.
//
//   generation-7   held by clients of a daemon that was killed   -> this daemon waits
//   generation-8   this daemon's
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/ids.h"
#include "shm/fd.h"

namespace baton::daemon {

class Generations {
 public:
  explicit Generations(std::string stateDirectory);
  // Removes this daemon's file if nobody holds it.
  ~Generations();
  Generations(const Generations&) = delete;
  Generations& operator=(const Generations&) = delete;

  // Makes this daemon's, once. Throws Error(system). To be called before the first lock is granted.
  void begin();
  std::uint64_t number() const { return number_; }
  // Of this daemon's file; empty before begin().
  const std::string& path() const { return path_; }

  // Looks again at the older ones, and removes those that nobody holds. True: none is left.
  bool older();
  // Who holds one, to be shown.
  std::vector<std::int32_t> holders() const;
  // An operator says that they are to be ignored.
  void forgetOlder();

 private:
  std::vector<std::string> olderFiles() const;

  std::string directory_;
  std::uint64_t number_ = 0;
  std::string path_;
  shm::Fd file_;
  std::vector<std::string> held_;
};

}  // namespace baton::daemon
