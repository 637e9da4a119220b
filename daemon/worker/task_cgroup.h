// The cgroup (v2) in which the tasks of a worker are born and end, one after the other. The daemon names it,
// the worker makes and removes it; what a killed worker leaves of it the daemon ends.
//
// It is kept from task to task, since making one costs more than a short task can bear, but for two cases:
// - where memory is counted, after a task that used much of it: a fresh one tells the next task's own peak,
// an
//   old one only a bound;
// - kernels since 6.14 kill whoever is born in one that was killed before.
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
  struct Peak {
    std::uint64_t bytes = 0;
    bool upperBound = false;  // what earlier tasks left in the cache may be in it
  };

  // Makes the directory. Throws Error(system).
  explicit TaskCgroup(std::string path);
  // Removes it, if nothing is in it.
  ~TaskCgroup();
  TaskCgroup(const TaskCgroup&) = delete;
  TaskCgroup& operator=(const TaskCgroup&) = delete;

  const std::string& path() const { return path_; }
  // What came before does not count for the next task.
  void begin();
  // No task is in it: makes it anew if the next one is better off with that. Throws Error(system).
  void renew();

  void fill(LaunchPlan& plan) const;
  // True if a process is in it; false too where that cannot be read any more.
  bool populated() const;
  // KILL to all in it and below. False: this kernel cannot.
  bool kill();
  // Those in it.
  std::vector<pid_t> processes() const;
  // nullopt: memory is not counted here.
  std::optional<Peak> peak() const;
  // Used by the present task.
  std::optional<std::uint64_t> cpuNs() const;
  // Memory is counted here, so that oomStruck knows of all that happens to the task.
  bool countsMemory() const { return oom_.counts(); }
  bool oomStruck() { return oom_.struck(); }

 private:
  enum class Use { none, first, again };
  void make();
  void remove();
  std::optional<std::uint64_t> number(int file, const char* key) const;
  std::optional<std::uint64_t> usedNs() const;
  bool mayLeaveAnother() const;

  const std::string path_;
  shm::Fd directory_;
  shm::Fd processes_;
  shm::Fd events_;
  shm::Fd cpu_;
  shm::Fd peak_;
  OomCounter oom_;
  Use use_ = Use::none;
  bool killed_ = false;
  std::uint64_t peakBefore_ = 0;
  std::uint64_t cpuBefore_ = 0;
};

}  // namespace baton::worker
