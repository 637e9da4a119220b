// Asking the kernel whether its out-of-memory killer struck in a memory cgroup (v1 or v2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "shm/fd.h"

namespace baton::worker {

class OomCounter {
 public:
  // Of the memory cgroup that this process is in; what was counted before does not count.
  static OomCounter ofSelf();
  // Of nothing: it never struck.
  static OomCounter none() { return OomCounter(shm::Fd()); }
  // Of a cgroup v2 directory.
  static OomCounter ofDirectory(int directory);

  // False: whether it struck cannot be known.
  bool counts() const { return static_cast<bool>(file_); }
  // What was counted so far does not count.
  void reset() { last_ = read().value_or(last_); }
  // True if a process of the cgroup was killed since the last call or reset. False where that cannot be
  // known.
  bool struck();

 private:
  explicit OomCounter(shm::Fd file);
  std::optional<std::uint64_t> read() const;

  shm::Fd file_;
  std::uint64_t last_ = 0;
};

// Where the cgroup of this process that counts memory is mounted: {file with a line "oom_kill N"}; empty:
// nowhere. `cgroups` and `mounts` as /proc/self/cgroup and /proc/self/mountinfo read.
std::string oomFilePath(const std::string& cgroups, const std::string& mounts);

}  // namespace baton::worker
