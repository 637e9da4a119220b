// The cgroup (v2) of one task, made and removed by the daemon: where its processes are born and how they end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/worker/launch.h"
#include "daemon/worker/memory_events.h"

namespace baton::worker {

class TaskCgroup {
 public:
  // Throws Error(system) if the directory cannot be opened.
  explicit TaskCgroup(const std::string& directory);

  void fill(LaunchPlan& plan) const;
  int directory() const { return directory_.get(); }
  // True if a process is in it; false too where that cannot be read any more.
  bool populated() const;
  // KILL to all in it. False: this kernel cannot.
  bool kill() const;
  // Those in it and below.
  std::vector<pid_t> processes() const;
  std::optional<std::uint64_t> peakBytes() const;
  std::optional<std::uint64_t> cpuNs() const;
  bool oomStruck() { return oom_.struck(); }

 private:
  std::string read(const char* name) const;
  std::optional<std::uint64_t> number(const char* name, const std::string& key) const;

  shm::Fd directory_;
  shm::Fd processes_;
  shm::Fd events_;
  OomCounter oom_;
};

}  // namespace baton::worker
