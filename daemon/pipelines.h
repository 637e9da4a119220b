// Which tasks of `run` are joined by pipes, as in `batonctl run a | batonctl run b | batonctl run c`. While
// one of them waits for a slot the others cannot go on for long, whether they are its neighbours or not: they
// would hold their slots for ever where there are not enough for all. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

// The inodes of a task's pipes; 0: that descriptor is none.
struct PipeEnds {
  std::uint64_t in = 0;
  std::array<std::uint64_t, 2> out{};
  bool any() const { return in != 0 || out[0] != 0 || out[1] != 0; }
};

class Pipelines {
 public:
  // Running tasks that from now on wait for one that is queued, and those that do not any more.
  struct Change {
    std::vector<TaskId> begin;
    std::vector<TaskId> end;
  };
  // The task waits for a slot.
  Change queued(TaskId task, const PipeEnds& ends);
  // It has its slot. No-op for one that is not known.
  Change started(TaskId task);
  // It neither runs nor waits for a slot any more; what it waited for itself is forgotten. No-op for one that
  // is not known.
  Change left(TaskId task);

 private:
  using Ends = std::unordered_multimap<std::uint64_t, TaskId>;  // by the pipe's inode
  struct Member {
    PipeEnds ends;
    bool running = false;
    bool waits = false;
  };
  std::vector<TaskId> pipelineOf(TaskId task) const;
  void update(TaskId task, Change& change);
  void erase(std::unordered_map<TaskId, Member>::iterator member);

  std::unordered_map<TaskId, Member> members_;
  Ends readers_;
  Ends writers_;
};

}  // namespace baton::daemon
