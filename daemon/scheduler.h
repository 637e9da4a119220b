// Which task starts next, on which slot: the whole policy, and nothing else. Events and the time go in,
// assignments come out; no I/O, no clock, no thread, no process. Used by the daemon's one thread.
//
// The life of a task in here (kinds of waiting before `add`, such as held, are the caller's):
//
//      add            next                     end
//     ─────► queued ────────► running ──────────────────► gone
//              │               │   ▲ next, or forceRun      ▲
//              │ remove   park ▼   │ unpark                 │ end
//              └─────► gone   parked ──► returning ─────────┘  (of both)
//
// The rules:
//  1. IO tasks need no slot. At most `ioPerUid` of a uid run at once; the next starts as soon as there is
//     room, in the order of rule 2. All rules after 2 are about CPU tasks, which need 1..slots slots each.
//  2. Within a uid and lane tasks start strictly in the order of `submitted - priority * 60 s`, ties by
//     id. It is fixed by add: no timer and no scan makes tasks older.
//  3. Between uids the next is who has had the least slot time for its weight (start-time fair queueing:
//     slot-seconds / weight, growing while tasks run). Time parked is free.
//  4. A uid that begins to queue joins at the least of those that queue, or where it was if that is more:
//     it brings no credit from idle times, and keeps its debt. While nobody queues nobody owes: who comes
//     then joins at the most anybody has.
//  5. If the next one's first task needs more slots than are free, the free ones are kept for it until it
//     starts: nothing else starts meanwhile but returning tasks. (Unless its uid's own running tasks are in
//     the way, so that all others could end and it still would not fit: then the others go on.)
//  6. A slot changes hands between uids that queue only when its turn has lasted for `quantum`. Before
//     that its uid goes first there, if its first task is one of one slot. So two uids on two slots do not
//     restart workers at every task; the time counts by rule 3 all the same.
//  7. A task goes where its uid's worker is warm, else where no worker is, else to the least recently used.
//  8. A parked task gives its slots back. Returning ones come before everything queued, of any uid, in
//     the order of their unpark; if the first does not fit, free slots are kept for it. At most
//     `parkedPerUid` of a uid are parked or returning.
//  9. A forced task runs at once. What does not fit is over the budget; while more slots are used than
//     there are, nothing starts. The same after setSlots made them fewer: what runs is left alone.
//
// So a queued task waits for what stands before it in its uid, at its uid's share of the slots, plus about
// one longest task and one quantum for each other uid, plus a drain of the pool for each larger task.
//
// After any call that changes something, next() is called until it has nothing: nothing ever becomes
// startable by the passing of time alone, so the caller needs no timer.
//
// Costs, with n tasks queued: add, remove and next O(log n + slots + uids that queue or run); park,
// unpark, end and forceRun O(slots). About 100 bytes per queued task. A uid once seen is remembered.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "daemon/fair_share.h"
#include "daemon/scheduler_types.h"
#include "daemon/slot_table.h"
#include "daemon/task_order.h"

namespace baton::daemon {

struct SchedulerOptions {
  unsigned slots = 1;
  unsigned ioPerUid = 256;
  // Long beside the start of a worker (some ms), short beside a person's patience.
  Time quantum = std::chrono::milliseconds(50);
  unsigned parkedPerUid = 256;
};

struct QueuedTask {
  TaskId id = 0;
  Uid uid = 0;
  Lane lane = Lane::cpu;
  unsigned slots = 1;  // CPU lane only. More than the pool has (now or after setSlots): all of the pool
  int priority = 0;    // -1000..1000, one step is worth 60 s; beyond that as the nearest
  Time submitted{0};   // on the clock of all other times; may lie in the past
};

struct Start {
  TaskId task = 0;
  unsigned slot = kNoSlot;  // the lowest of its slots, from 0; its worker sits there. IO lane: kNoSlot
  unsigned slots = 0;       // how many it got. IO lane: 0
  bool returning = false;   // it was parked before, and goes on
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // From 1 on; 100 is the default. Counts from the last time that was told.
  void setWeight(Uid uid, unsigned weight);
  // From 1 on.
  void setSlots(unsigned slots, Time now);

  // The task may start from now on. No-op for one that is queued already; a started one must have ended.
  void add(const QueuedTask& task, Time now);
  // Takes back a queued task: it was cancelled or held. false: it is not queued (any more).
  bool remove(TaskId task, Time now);
  // The next task that starts, or goes on, now.
  [[nodiscard]] std::optional<Start> next(Time now);
  // A started task ended, whether running, parked or returning.
  void end(TaskId task, Time now);

  // A started task waits inside baton, or was stopped: it gives back its slots (its place in the IO lane).
  // Also for a returning one, that waits anew. false: too many of its uid are parked; nothing changed.
  [[nodiscard]] bool park(TaskId task, Time now);
  // A parked task wants to go on; next() will hand it out. No-op for one that is not parked (any more).
  void unpark(TaskId task, Time now);
  // A parked or returning task goes on at once, over the budget if need be (it holds a lock, or computes
  // while parked); next() will not hand it out. No-op for a running one.
  void forceRun(TaskId task, Time now);

  unsigned slots() const { return slots_; }
  // Slots of running CPU tasks, forced ones among them.
  unsigned used() const { return used_; }
  unsigned over() const { return used_ > slots_ ? used_ - slots_ : 0; }
  // The task for which free slots are kept, if any, as of the last next().
  std::optional<TaskId> keptFor() const;
  // Ascending. Empty if it has none: not running, of the IO lane, or forced beyond the budget.
  std::vector<unsigned> slotsOf(TaskId task) const { return table_.slotsOf(task); }
  // Queued tasks that start before it, of its uid and lane; exact, O(log n). 0 if it is not queued.
  std::size_t ahead(TaskId task) const;
  std::size_t queued() const { return queued_.size(); }
  std::size_t queued(Uid uid) const;
  // Parked or returning.
  std::size_t parked() const { return parked_; }
  unsigned parked(Uid uid) const;
  unsigned ioRunning(Uid uid) const;

 private:
  using Returning = std::map<std::uint64_t, TaskId>;  // by ticket, drawn at unpark
  struct Account {
    Uid uid = 0;
    FairShare share;
    TaskOrder cpu;
    TaskOrder io;
    Returning ioReturning;
    unsigned ioRunning = 0;
    unsigned parked = 0;
    std::uint64_t ticket = 0;  // drawn when it begins to queue; the lower goes first among equals
  };
  enum class State { running, parked, returning };
  struct Started {
    Account* account;
    Lane lane;
    unsigned slots;  // as asked for; 0 in the IO lane
    State state;
    unsigned held = 0;  // slots charged, if running
    unsigned slot = kNoSlot;
    std::uint64_t ticket = 0;
  };

  void tell(Time now);
  Account& accountOf(Uid uid);
  const Account* findAccount(Uid uid) const;
  unsigned unused() const { return used_ < slots_ ? slots_ - used_ : 0; }
  unsigned need(unsigned slots) const { return slots < slots_ ? slots : slots_; }

  double virtualTime();
  bool couldFit(const Account& account) const;
  Account* fairNext() const;
  Account* keptAccount();

  std::optional<Start> nextIo();
  std::optional<Start> nextReturning();
  std::optional<Start> nextQueued();
  Start startQueued(Account& account, unsigned slots, unsigned slot);
  void dequeue(QueueEntry& entry);
  void setIoReady(Account& account);
  void charge(Account& account, unsigned slots);
  void uncharge(Account& account, unsigned slots);
  void leaveSlots(TaskId task, Started& started, WorkerFate worker);
  void leaveReturning(Started& started);

  SchedulerOptions options_;
  unsigned slots_;
  unsigned used_ = 0;
  std::size_t parked_ = 0;
  Time now_{0};
  std::uint64_t tickets_ = 0;
  double virtualTime_ = 0;  // what uids have joined at so far; never decreases
  double highest_ = 0;      // the most that uids with nothing running have had
  std::optional<TaskId> kept_;
  SlotTable table_;
  std::map<Uid, Account> accounts_;
  std::vector<Account*> waiting_;        // with queued CPU tasks
  std::vector<Account*> computing_;      // with slots charged
  std::vector<Account*> ioReady_;        // with IO tasks that may start now
  std::map<TaskId, QueueEntry> queued_;  // not a hash: growing one stops the loop for 30 ms at 10^6
  std::unordered_map<TaskId, Started> started_;
  Returning returning_;  // CPU lane
};

}  // namespace baton::daemon
