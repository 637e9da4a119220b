// The slots one by one: which task holds each, whose worker sits there, and since when it is that uid's
// turn. It says where a task would best go; whether one may start is decided by Scheduler, its only user.
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

inline constexpr unsigned kNoSlot = std::numeric_limits<unsigned>::max();

// What happens to the worker in a slot when its task leaves the slot.
enum class WorkerFate {
  stays,  // the task ended: it is warm for the next one
  leaves  // the task is parked: its worker waits with it
};

// All calls cost O(slots) at most.
class SlotTable {
 public:
  explicit SlotTable(Time quantum) : quantum_(quantum) {}

  // Slots 0..count-1 are given out from now on; tasks in higher ones stay until they leave.
  void resize(unsigned count);

  // The best free slot for a task of one slot of `uid`: where its own worker sits, else where none does,
  // else the least recently used of the others. A slot within another uid's turn is passed over if
  // `wants(thatUid)`. nullopt: all free ones are.
  std::optional<unsigned> choose(Uid uid, Time now, const std::function<bool(Uid)>& wants) const;
  // Of the free slots the least recently used, and the uid whose worker sits there. There is a free slot.
  unsigned leastRecentlyUsed() const;
  Uid ownerOf(unsigned slot) const { return slots_[slot].uid; }

  // `slot` is free.
  void take(unsigned slot, TaskId task, Uid uid, Time now);
  // Takes `count` free slots, and returns the lowest. There are that many.
  unsigned takeSome(unsigned count, TaskId task, Uid uid, Time now);
  // The same for a task that comes back with its worker, and so prefers slots where none sits.
  unsigned takeBack(unsigned count, TaskId task, Uid uid, Time now);
  // Gives back the `count` slots of `task`, of which `lowest` is the lowest.
  void release(TaskId task, unsigned lowest, unsigned count, WorkerFate worker, Time now);

  // Ascending; empty if it has none.
  std::vector<unsigned> slotsOf(TaskId task) const;

 private:
  struct Slot {
    bool busy = false;
    bool hasWorker = false;  // of `uid`, busy or warm
    Uid uid = 0;
    TaskId task = 0;
    Time turnBegan{0};
    Time usedAt{0};
  };
  using Preference = bool (*)(const Slot&, const Slot&, Uid);

  unsigned takeBest(Preference better, unsigned count, TaskId task, Uid uid, Time now);
  std::vector<unsigned> freeSlots() const;
  bool turnOver(const Slot& slot, Time now) const { return now - slot.turnBegan >= quantum_; }
  static bool fitsFresh(const Slot& a, const Slot& b, Uid uid);
  static bool fitsReturning(const Slot& a, const Slot& b, Uid uid);

  Time quantum_;
  unsigned count_ = 0;
  std::vector<Slot> slots_;  // never shorter than count_, nor than the highest slot in use
};

}  // namespace baton::daemon
