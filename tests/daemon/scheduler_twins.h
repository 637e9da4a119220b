// What the histories of scheduler_simulation_test.cc are made with.
#pragma once

#include <ostream>
#include <random>

#include "tests/daemon/scheduler_oracle.h"

namespace baton::daemon::sim {

using namespace std::chrono_literals;

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed * 2654435761u + 1)) {}
  std::uint32_t next() { return static_cast<std::uint32_t>(engine_()); }
  unsigned below(unsigned bound) { return next() % bound; }
  unsigned from(unsigned low, unsigned high) { return low + below(high - low + 1); }
  bool chance(unsigned percent) { return below(100) < percent; }

 private:
  std::minstd_rand engine_;
};

// The scheduler and the oracle, told the same things. `log` is nullptr or gets a line for each.
class Twins {
 public:
  Twins(const SchedulerOptions& options, std::ostream* log)
      : scheduler(options), oracle(options, scheduler), log_(log) {
    moveTo(1h);
    say() << "slots " << options.slots << " ioPerUid " << options.ioPerUid << " parkedPerUid "
          << options.parkedPerUid << " quantum " << options.quantum.count() / 1'000'000 << " ms\n";
  }

  void moveTo(Time now) {
    now_ = now;
    oracle.advance(now);
  }
  Time now() const { return now_; }

  TaskId submit(QueuedTask task) {
    task.id = ++ids_;
    say() << "add " << task.id << " uid " << task.uid << (task.lane == Lane::io ? " io" : "") << " slots "
          << task.slots << " priority " << task.priority << '\n';
    ++accepted_;
    oracle.added(task);
    scheduler.add(task, now_);
    return task.id;
  }
  void remove(TaskId task) {
    say() << "remove " << task << '\n';
    oracle.removed(task);
    demand(scheduler.remove(task, now_), "a queued task could not be removed");
    demand(!scheduler.remove(task, now_), "removed twice");
    ++finished_;
  }
  void end(TaskId task) {
    say() << "end " << task << '\n';
    scheduler.end(task, now_);
    oracle.ended(task);
    demand(!scheduler.remove(task, now_), "an ended task was queued");
    ++finished_;
  }
  void park(TaskId task) {
    const bool accepted = scheduler.park(task, now_);
    say() << "park " << task << (accepted ? "\n" : ": too deep\n");
    oracle.parked(task, accepted);
  }
  void unpark(TaskId task) {
    say() << "unpark " << task << '\n';
    scheduler.unpark(task, now_);
    oracle.unparked(task);
  }
  void force(TaskId task) {
    say() << "force " << task << '\n';
    scheduler.forceRun(task, now_);
    oracle.forced(task);
  }
  void setSlots(unsigned slots) {
    say() << "slots " << slots << '\n';
    scheduler.setSlots(slots, now_);
    oracle.setSlots(slots);
  }
  void setWeight(Uid uid, unsigned weight) {
    say() << "weight of " << uid << ": " << weight << '\n';
    (void)scheduler.remove(0, now_);  // tells the time
    scheduler.setWeight(uid, weight);
    oracle.setWeight(uid, weight);
  }
  // Starts whatever starts; `started` hears of each.
  template <typename Listener>
  void startAll(Listener started) {
    while (const auto start = scheduler.next(now_)) {
      say() << (start->returning ? "  goes on " : "  starts ") << start->task << " slot " << start->slot
            << " x " << start->slots << '\n';
      oracle.started(*start);
      started(*start);
    }
    oracle.nothing();
  }
  void startAll() {
    startAll([](const Start&) {});
  }

  // Lets everything end. Every task that was accepted must have ended exactly once.
  void finish() {
    for (int round = 0; !oracle.tasks().empty(); ++round) {
      demand(round < 100'000, "tasks are left that never start");
      moveTo(now_ + 10ms);
      const auto task = oracle.tasks()[round % oracle.tasks().size()];
      if (task.state == SchedulerOracle::State::running) end(task.asked.id);
      if (task.state == SchedulerOracle::State::parked) unpark(task.asked.id);
      startAll();
      oracle.check(round);
    }
    demand(accepted_ == finished_, "not every task ended once");
    demand(scheduler.queued() == 0 && scheduler.used() == 0 && scheduler.parked() == 0, "something is left");
  }

  Scheduler scheduler;
  SchedulerOracle oracle;

 private:
  std::ostream& say() {
    static std::ostream silent(nullptr);
    return log_ == nullptr ? silent : *log_ << now_.count() / 1'000'000 << " ms: ";
  }

  std::ostream* log_;
  Time now_{0};
  TaskId ids_ = 0;
  std::size_t accepted_ = 0;
  std::size_t finished_ = 0;
};

}  // namespace baton::daemon::sim
