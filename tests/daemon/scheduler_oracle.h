// The rules of daemon/scheduler.h once more, worked out naively and from scratch at each step: every task in
// one list, every virtual time moved at every event. It is told what happens, and throws Violation when the
// scheduler does what the rules do not allow, or does not do what they demand.
#pragma once

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/scheduler.h"

namespace baton::daemon::sim {

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void demand(bool holds, const char* what) {
  if (!holds) throw Violation(what);
}

class SchedulerOracle {
 public:
  enum class State { queued, running, parked, returning };
  struct Task {
    QueuedTask asked;
    State state = State::queued;
    unsigned held = 0;
    std::vector<unsigned> slots = {};
    int turn = 0;  // order of the unparks
  };
  struct User {
    Uid uid = 0;
    double weight = 100;
    double virtualTime = 0;
    double slotSeconds = 0;
  };

  SchedulerOracle(const SchedulerOptions& options, const Scheduler& scheduler)
      : options_(options), slots_(options.slots), scheduler_(scheduler), pool_(options.slots) {}

  const std::vector<Task>& tasks() const { return tasks_; }
  const std::vector<User>& users() const { return users_; }
  const User& user(Uid uid) { return userOf(uid); }
  // Who queues and has had least, and how much.
  double leastVirtualTime() const {
    double least = 1e300;
    for (const User& user : users_) {
      if (firstOf(user.uid, Lane::cpu) != nullptr) least = std::min(least, user.virtualTime);
    }
    return least;
  }

  void advance(Time now) {
    const double seconds = std::chrono::duration<double>(now - now_).count();
    now_ = now;
    if (seconds == 0) return;
    for (const Task& task : tasks_) {
      if (task.state != State::running || task.held == 0) continue;
      User& user = userOf(task.asked.uid);
      user.virtualTime += seconds * task.held * 100 / user.weight;
      user.slotSeconds += seconds * task.held;
    }
  }

  void setWeight(Uid uid, unsigned weight) { userOf(uid).weight = weight; }
  void setSlots(unsigned slots) {
    slots_ = slots;
    if (pool_.size() < slots) pool_.resize(slots);
    for (unsigned i = slots; i < pool_.size(); ++i) {
      if (!pool_[i].busy) pool_[i].warm = false;
    }
    overAllowed_ = std::max(overAllowed_, used() > slots ? used() - slots : 0);
  }
  void added(const QueuedTask& task) {
    if (task.lane == Lane::cpu && firstOf(task.uid, Lane::cpu) == nullptr) lift(task.uid);
    tasks_.push_back(Task{task});
  }
  void removed(TaskId id) { erase(id, State::queued); }
  void ended(TaskId id) {
    Task& task = find(id);
    demand(task.state != State::queued, "a queued task ended");
    freeSlots(task, true);
    erase(id, task.state);
  }
  void parked(TaskId id, bool accepted) {
    Task& task = find(id);
    if (task.state == State::running) {
      const bool room = countOf(task.asked.uid, State::parked, State::returning) < options_.parkedPerUid;
      demand(accepted == room, "tooDeep at the wrong number");
      if (!accepted) return;
      freeSlots(task, false);
      task.held = 0;
    }
    demand(accepted, "a waiting task may wait on");
    task.state = State::parked;
  }
  void unparked(TaskId id) {
    Task& task = find(id);
    if (task.state != State::parked) return;
    task.state = State::returning;
    task.turn = ++turns_;
  }
  void forced(TaskId id) {
    Task& task = find(id);
    if (task.state == State::running || task.state == State::queued) return;
    task.state = State::running;
    if (task.asked.lane == Lane::io) return;
    const unsigned need = needOf(task);
    const bool fits = need <= unused();
    resume(task, fits ? need : 0, need);
    if (!fits) overAllowed_ = std::max(overAllowed_, used() - slots_);
  }

  void started(const Start& start) {
    Task& task = find(start.task);
    if (task.asked.lane == Lane::io) {
      startedIo(task, start);
    } else if (start.returning) {
      demand(task.state == State::returning, "returned without having asked");
      demand(&task == firstReturning(Lane::cpu, 0), "returned out of turn");
      demand(start.slots == needOf(task) && start.slots <= unused(), "returned beyond the budget");
      resume(task, start.slots, start.slots);
      demand(start.slot == task.slots.front(), "not its lowest slot");
    } else {
      demand(task.state == State::queued, "started twice");
      demand(firstReturning(Lane::cpu, 0) == nullptr, "a new task started before a returning one");
      demand(&task == firstOf(task.asked.uid, Lane::cpu), "started out of order within the uid");
      demand(start.slots == needOf(task) && start.slots <= unused(), "started beyond the budget");
      demand(allowedNext(task, start), "somebody else was next, or elsewhere");
      kept_.reset();
      take(task, start.slots, scheduler_.slotsOf(start.task));
      demand(start.slot == task.slots.front(), "not its lowest slot");
      task.held = start.slots;
    }
    task.state = State::running;
  }

  // next() had nothing more.
  void nothing() {
    for (const User& user : users_) {
      const bool wants =
          firstOf(user.uid, Lane::io) != nullptr || firstReturning(Lane::io, user.uid) != nullptr;
      demand(!wants || ioRunning(user.uid) >= options_.ioPerUid, "an IO task was left waiting");
    }
    const Task* returning = firstReturning(Lane::cpu, 0);
    if (unused() == 0) return;
    if (returning != nullptr) {
      demand(needOf(*returning) > unused(), "a returning task was left waiting");
      return;
    }
    const auto next = nextOnes();
    if (next.empty()) return;
    const auto kept = scheduler_.keptFor();
    demand(kept.has_value(), "slots are free and something could start");
    const auto at =
        std::find_if(next.begin(), next.end(), [&](const Task* task) { return task->asked.id == *kept; });
    demand(at != next.end(), "slots are kept for a task that is not next");
    demand(needOf(**at) > unused(), "slots are kept for a task that fits");
    kept_ = kept;
  }

  // After each event: what the scheduler says of itself, and what must hold always.
  void check(std::uint64_t random) {
    const unsigned used = this->used();
    demand(scheduler_.used() == used, "used() is wrong");
    demand(scheduler_.slots() == slots_, "slots() is wrong");
    demand(scheduler_.over() == (used > slots_ ? used - slots_ : 0), "over() is wrong");
    demand(used <= slots_ + overAllowed_, "over the budget without force");
    overAllowed_ = used > slots_ ? used - slots_ : 0;
    if (tasks_.empty()) return;
    const Task& task = tasks_[random % tasks_.size()];
    const Uid uid = task.asked.uid;
    demand(scheduler_.queued(uid) == countOf(uid, State::queued, State::queued), "queued() is wrong");
    demand(scheduler_.parked(uid) == countOf(uid, State::parked, State::returning), "parked() is wrong");
    demand(scheduler_.ioRunning(uid) == ioRunning(uid), "ioRunning() is wrong");
    std::size_t ahead = 0;
    for (const Task& other : tasks_) {
      if (task.state == State::queued && other.state == State::queued && other.asked.uid == uid &&
          other.asked.lane == task.asked.lane && before(other, task)) {
        ++ahead;
      }
    }
    demand(scheduler_.ahead(task.asked.id) == ahead, "ahead() is wrong");
  }

 private:
  struct Slot {
    bool busy = false;
    bool warm = false;
    Uid uid = 0;
    Time turn{0};
    Time used{0};
  };
  static constexpr double kRounding = 1e-7;

  static Time orderOf(const QueuedTask& task) {
    return task.submitted - std::chrono::minutes(std::clamp(task.priority, -1000, 1000));
  }
  static bool before(const Task& a, const Task& b) {
    return std::pair(orderOf(a.asked), a.asked.id) < std::pair(orderOf(b.asked), b.asked.id);
  }
  unsigned needOf(const Task& task) const { return std::min(task.asked.slots, slots_); }
  unsigned used() const {
    unsigned used = 0;
    for (const Task& task : tasks_) used += task.state == State::running ? task.held : 0;
    return used;
  }
  unsigned unused() const { return used() < slots_ ? slots_ - used() : 0; }
  unsigned usedBy(Uid uid) const {
    unsigned used = 0;
    for (const Task& task : tasks_)
      used += task.state == State::running && task.asked.uid == uid ? task.held : 0;
    return used;
  }
  unsigned ioRunning(Uid uid) const {
    return std::count_if(tasks_.begin(), tasks_.end(), [uid](const Task& task) {
      return task.asked.uid == uid && task.asked.lane == Lane::io && task.state == State::running;
    });
  }
  unsigned countOf(Uid uid, State a, State b) const {
    return std::count_if(tasks_.begin(), tasks_.end(), [=](const Task& task) {
      return task.asked.uid == uid && (task.state == a || task.state == b);
    });
  }
  Task& find(TaskId id) {
    for (Task& task : tasks_) {
      if (task.asked.id == id) return task;
    }
    throw Violation("a task that is not there");
  }
  void erase(TaskId id, State state) {
    Task& task = find(id);
    demand(task.state == state, "not in that state");
    std::swap(task, tasks_.back());
    tasks_.pop_back();
  }
  User& userOf(Uid uid) {
    for (User& user : users_) {
      if (user.uid == uid) return user;
    }
    users_.push_back(User{uid});
    return users_.back();
  }
  const Task* firstOf(Uid uid, Lane lane) const {
    const Task* first = nullptr;
    for (const Task& task : tasks_) {
      if (task.state != State::queued || task.asked.uid != uid || task.asked.lane != lane) continue;
      if (first == nullptr || before(task, *first)) first = &task;
    }
    return first;
  }
  // Of all uids in the CPU lane; of `uid` in the IO lane.
  const Task* firstReturning(Lane lane, Uid uid) const {
    const Task* first = nullptr;
    for (const Task& task : tasks_) {
      if (task.state != State::returning || task.asked.lane != lane) continue;
      if (lane == Lane::io && task.asked.uid != uid) continue;
      if (first == nullptr || task.turn < first->turn) first = &task;
    }
    return first;
  }

  // Rule 4.
  void lift(Uid uid) {
    double joint = leastVirtualTime();
    if (joint > 1e299) {
      joint = 0;
      for (const User& user : users_) joint = std::max(joint, user.virtualTime);
    }
    joint_ = std::max(joint_, joint);
    User& user = userOf(uid);
    user.virtualTime = std::max(user.virtualTime, joint_);
  }

  // Rules 3 and 5: the first tasks of those who may be next (several only within the rounding).
  std::vector<const Task*> nextOnes() {
    struct Candidate {
      const Task* task;
      double tag;
    };
    std::vector<Candidate> all;
    double least = 1e300;
    for (const User& user : users_) {
      const Task* task = firstOf(user.uid, Lane::cpu);
      if (task == nullptr) continue;
      if (needOf(*task) > unused() && needOf(*task) + usedBy(user.uid) > slots_) continue;
      if (kept_ && task->asked.id == *kept_) return {task};
      const double ahead = std::chrono::duration<double>(std::max(options_.quantum, Time(1'000'000))).count();
      const double tag = user.virtualTime + usedBy(user.uid) * ahead * 100 / user.weight;
      all.push_back({task, tag});
      least = std::min(least, tag);
    }
    kept_.reset();  // no longer first of its uid, or in the way of itself
    std::vector<const Task*> next;
    for (const Candidate& candidate : all) {
      if (candidate.tag <= least + kRounding * (1 + least)) next.push_back(candidate.task);
    }
    return next;
  }

  bool allowedNext(const Task& task, const Start& start) {
    const auto next = nextOnes();
    return std::any_of(next.begin(), next.end(),
                       [&](const Task* fair) { return allowedAfter(*fair, task, start); });
  }

  // Whether `task` may start there if `fair` is the next one by rules 3 and 5: rules 6 and 7.
  bool allowedAfter(const Task& fair, const Task& task, const Start& start) const {
    if (needOf(fair) > unused()) return false;
    if (needOf(fair) > 1) return &fair == &task;
    const Uid uid = fair.asked.uid;
    int bestRank = 3;
    Time oldest = Time::max();
    Time best{0};
    for (unsigned i = 0; i < slots_; ++i) {
      const Slot& slot = pool_[i];
      if (slot.busy) continue;
      oldest = std::min(oldest, slot.used);
      const int rank = rankOf(slot, uid);
      if (rank == 3 || rank > bestRank) continue;
      const bool better = rank == 0 ? slot.used > best : rank == 2 && slot.used < best;
      if (rank < bestRank || better) best = slot.used;
      bestRank = rank;
    }
    const Slot& chosen = pool_[start.slot];
    if (bestRank == 3)
      return chosen.uid == task.asked.uid && chosen.used == oldest && rankOf(chosen, uid) == 3;
    if (&fair != &task || rankOf(chosen, uid) != bestRank) return false;
    return bestRank == 1 || chosen.used == best;
  }
  // 0 own worker, 1 none, 2 somebody's, 3 within the turn of somebody who wants it.
  int rankOf(const Slot& slot, Uid uid) const {
    if (!slot.warm) return 1;
    if (slot.uid == uid) return 0;
    if (now_ - slot.turn >= options_.quantum) return 2;
    const Task* first = firstOf(slot.uid, Lane::cpu);
    return first != nullptr && needOf(*first) == 1 ? 3 : 2;
  }

  void startedIo(Task& task, const Start& start) {
    demand(start.slot == kNoSlot && start.slots == 0, "an IO task got a slot");
    demand(ioRunning(task.asked.uid) < options_.ioPerUid, "too many IO tasks");
    const Task* returning = firstReturning(Lane::io, task.asked.uid);
    const Task* first = returning != nullptr ? returning : firstOf(task.asked.uid, Lane::io);
    demand(&task == first && start.returning == (returning != nullptr), "an IO task out of turn");
  }

  void resume(Task& task, unsigned slots, unsigned held) {
    if (firstOf(task.asked.uid, Lane::cpu) == nullptr) lift(task.asked.uid);
    take(task, slots, scheduler_.slotsOf(task.asked.id));
    task.held = held;
  }
  void take(Task& task, unsigned count, std::vector<unsigned> slots) {
    demand(slots.size() == count, "not as many slots as it was given");
    for (const unsigned i : slots) {
      demand(i < slots_, "a slot that does not exist");
      Slot& slot = pool_[i];
      demand(!slot.busy, "a slot was given out twice");
      if (!slot.warm || slot.uid != task.asked.uid || now_ - slot.turn >= options_.quantum) slot.turn = now_;
      slot.busy = true;
      slot.warm = i == slots.front();
      slot.uid = task.asked.uid;
    }
    task.slots = std::move(slots);
  }
  void freeSlots(Task& task, bool workerStays) {
    for (const unsigned i : task.slots) {
      pool_[i].busy = false;
      pool_[i].used = now_;
      if (!workerStays || i >= slots_) pool_[i].warm = false;
    }
    task.slots.clear();
  }

  SchedulerOptions options_;
  unsigned slots_;
  const Scheduler& scheduler_;
  std::vector<Slot> pool_;
  std::vector<Task> tasks_;
  std::vector<User> users_;
  Time now_{0};
  double joint_ = 0;
  unsigned overAllowed_ = 0;
  int turns_ = 0;
  std::optional<TaskId> kept_;
};

}  // namespace baton::daemon::sim
