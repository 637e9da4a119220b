// Killing all that is left of a task, until nothing is.
//
// Without a cgroup: the worker is a subreaper, so each round kills its own children (whose pids cannot be
// reused before it waits for them) and what loses its parent by that becomes its child, for the next round.
// Rounds go on until wait says that there is no child.
#pragma once

#include <sys/types.h>

#include <vector>

#include "daemon/worker/task_cgroup.h"
#include "daemon/worker/time.h"

namespace baton::worker {

// How long killing is tried.
struct Patience {
  // A tree that still grows after this out-forks its killer, or belongs to another user.
  Duration escape = std::chrono::seconds(10);
  // A process that did not die of KILL in this time hangs in the kernel.
  Duration unkillable = std::chrono::seconds(60);
};

class TreeEnd {
 public:
  // `spared` are children of the worker that do not belong to the task; it outlives this.
  explicit TreeEnd(const std::vector<pid_t>& spared, Patience patience = {})
      : spared_(spared), patience_(patience) {}

  enum class State { busy, gone, escaped, unkillable };

  // `cgroup`, if not nullptr, outlives this.
  void begin(Time now, TaskCgroup* cgroup);
  // Kills what is there. `noChildren`: wait said that the worker has no child at all. All zombies must have
  // been waited for before.
  State step(bool noChildren, Time now);
  // When step is to be called again, if no child ends before.
  Time deadline() const { return next_; }
  // What could not be killed.
  const std::vector<pid_t>& remaining() const { return remaining_; }

 private:
  bool isSpared(pid_t pid) const;
  bool empty(bool noChildren) const;
  void killRound();
  bool anyHangs() const;
  std::vector<pid_t> left() const;

  const std::vector<pid_t>& spared_;
  Patience patience_;
  TaskCgroup* cgroup_ = nullptr;
  Time begin_{};
  Time next_ = kNever;
  int rounds_ = 0;
  std::vector<pid_t> remaining_;
};

}  // namespace baton::worker
