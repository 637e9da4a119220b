// The cgroups of this daemon, in the one that is delegated to it:
//
//   DELEGATED/
//     baton-4f0c…/        made by this daemon, which notes it in its state directory before
//       daemon/           batond, guard and workers, once the controllers below are enabled
//       cpu/  w3/ w4/     a worker's tasks, one after the other (worker/task_cgroup.h)
//       io/   w7/         a tenth of the weight of cpu/, all together
//
// Controllers (memory, to measure tasks; cpu, to weigh the lanes) are enabled only if nobody but daemon and
// guard is in DELEGATED: a cgroup that hands controllers on holds no processes, and others are not ours to
// move.
//
// What a death leaves. Of a worker: its cgroup, which the daemon ends. Of the daemon: all, which the guard
// ends (it was told the directory). Of daemon and guard: all, which the next daemon of this state directory
// ends before it begins.
#pragma once

#include <string>
#include <vector>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

class CgroupTree {
 public:
  // Ends what killed daemons of `stateDirectory`, whose lock is held, left behind; may take some seconds if
  // it does not die. Makes none before make().
  explicit CgroupTree(const std::string& stateDirectory);
  // As remove().
  ~CgroupTree();
  CgroupTree(const CgroupTree&) = delete;
  CgroupTree& operator=(const CgroupTree&) = delete;

  // In `delegated`. `guard`: the pid of this process's parent, if it is its guard, else 0. False: notes()
  // says why.
  bool make(const std::string& delegated, int guard);
  bool made() const { return !base_.empty(); }
  const std::string& base() const { return base_; }
  // The directory for a worker's tasks; empty: there is none.
  std::string directoryOf(Lane lane, unsigned worker) const;
  // The IO lane has its own weight.
  bool weighsLanes() const { return weighs_; }
  bool measuresMemory() const { return memory_; }
  // What could not be had, a sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

  // Kills what is in the lanes and removes all; puts daemon and guard back to where they were.
  void remove();

 private:
  void enableControllers(int delegated, int guard);
  bool moveOurselves(int guard);

  std::string stateDirectory_;
  std::string base_;
  std::vector<std::string> old_;  // of earlier daemons, with something in them still
  std::vector<std::string> notes_;
  bool weighs_ = false;
  bool memory_ = false;
};

// KILL to all in the lanes of what a daemon made at `base`; what is in the lanes has no chance to fork away.
void killCgroupLanes(const std::string& base);

// Of what a daemon made at `base`, and for who comes after its death: kills what is in the lanes, moves the
// rest of its processes back, removes all. False: something is left.
bool endCgroupTree(const std::string& base);

}  // namespace baton::daemon
