// Long random histories against the rules (scheduler_oracle.h). BATON_SIM_SEEDS=N runs N of them;
// BATON_SIM_SEED=S runs the one with seed S, and prints it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <sstream>

#include "tests/daemon/scheduler_oracle.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using sim::demand;
using sim::SchedulerOracle;
using sim::Violation;
using State = SchedulerOracle::State;

constexpr int kEvents = 1000;

std::uint64_t numberFromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

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
      if (task.state == State::running) end(task.asked.id);
      if (task.state == State::parked) unpark(task.asked.id);
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

// Anything at any time: submits, ends, cancels, parks, forces, reloads.
class Chaos {
 public:
  Chaos(std::uint64_t seed, std::ostream* log) : random_(seed), twins_(options(), log) {}

  void run() {
    for (int i = 0; i < kEvents; ++i) {
      if (random_.chance(60)) twins_.moveTo(twins_.now() + step());
      event();
      if (random_.chance(80)) twins_.startAll();
      twins_.oracle.check(random_.next());
    }
    twins_.startAll();
    twins_.finish();
  }

 private:
  SchedulerOptions options() {
    uids_ = random_.from(1, 5);
    mostTasks_ = random_.from(4, 60);
    multiPercent_ = random_.chance(50) ? random_.below(50) : 0;
    ioPercent_ = random_.chance(50) ? random_.below(50) : 0;
    parkPercent_ = random_.chance(70) ? random_.below(30) : 0;
    reloads_ = random_.chance(30);
    constexpr Time kQuanta[] = {0ms, 50ms, 1s};
    SchedulerOptions options;
    options.slots = random_.chance(20) ? 1 : random_.from(2, 8);
    options.ioPerUid = random_.from(1, 4);
    options.parkedPerUid = random_.chance(50) ? random_.from(1, 4) : 256;
    options.quantum = kQuanta[random_.below(3)];
    return options;
  }
  Time step() {
    constexpr Time kLongest[] = {1ms, 20ms, 200ms, 2s};
    return Time(random_.next() % kLongest[random_.below(4)].count());
  }

  void event() {
    if (reloads_ && random_.chance(2)) return twins_.setSlots(random_.from(1, 8));
    if (random_.chance(1)) return twins_.setWeight(random_.from(1, uids_), random_.from(1, 400));
    if (twins_.oracle.tasks().size() < mostTasks_ && random_.chance(50)) return submit();
    if (!twins_.oracle.tasks().empty()) touch();
  }
  void submit() {
    QueuedTask task;
    task.uid = random_.from(1, uids_);
    task.lane = random_.chance(ioPercent_) ? Lane::io : Lane::cpu;
    if (random_.chance(multiPercent_)) task.slots = random_.from(2, twins_.scheduler.slots() + 1);
    if (random_.chance(10)) task.priority = static_cast<int>(random_.below(5)) - 2;
    task.submitted = twins_.now() - (random_.chance(10) ? Time(3s) : Time(0));
    twins_.submit(task);
  }
  // Something happens to one task.
  void touch() {
    const auto& tasks = twins_.oracle.tasks();
    const auto& task = tasks[random_.below(tasks.size())];
    const TaskId id = task.asked.id;
    switch (task.state) {
      case State::queued:
        if (random_.chance(10)) twins_.remove(id);
        return;
      case State::running:
        return random_.chance(parkPercent_) ? twins_.park(id) : twins_.end(id);
      case State::parked:
      case State::returning:
        if (random_.chance(5)) return twins_.end(id);
        if (random_.chance(5)) return twins_.park(id);
        return random_.chance(10) ? twins_.force(id) : twins_.unpark(id);
    }
  }

  Random random_;
  unsigned uids_ = 1;
  std::size_t mostTasks_ = 0;
  unsigned multiPercent_ = 0;
  unsigned ioPercent_ = 0;
  unsigned parkPercent_ = 0;
  bool reloads_ = false;
  Twins twins_;
};

// A machine at work: tasks of one slot come, run for their time and end. Checks how long each waited.
class Machine {
 public:
  Machine(std::uint64_t seed, std::ostream* log) : random_(seed), twins_(options(), log) {
    for (Uid uid = 1; uid <= uids_; ++uid) {
      weights_.push_back(random_.from(10, 300));
      longest_.push_back(Time(1ms) * random_.from(1, 2000));
      twins_.setWeight(uid, weights_.back());
    }
  }

  void run() {
    Time arrival = twins_.now();
    for (int i = 0; i < kEvents; ++i) {
      const auto first = std::min_element(ends_.begin(), ends_.end());
      if (first != ends_.end() && first->first <= arrival) {
        twins_.moveTo(first->first);
        twins_.end(first->second);
        ends_.erase(first);
      } else {
        twins_.moveTo(arrival);
        arrive();
        arrival += Time(random_.next() % gap_.count());
      }
      twins_.startAll([this](const Start& start) { started(start.task); });
      twins_.oracle.check(random_.next());
    }
    twins_.finish();
  }

 private:
  struct Wait {
    Uid uid;
    Time since;
    double slotSeconds;  // what its uid had had then
    double debt;         // virtual time by which its uid was ahead then
  };

  SchedulerOptions options() {
    uids_ = random_.from(1, 5);
    gap_ = Time(1ms) * random_.from(1, 1000);
    SchedulerOptions options;
    options.slots = slots_ = random_.from(1, 8);
    options.quantum = quantum_ = random_.chance(80) ? Time(50ms) : Time(0);
    return options;
  }
  void arrive() {
    const Uid uid = random_.from(1, uids_);
    for (unsigned i = random_.chance(20) ? random_.from(1, 10) : 1; i > 0 && waits_.size() < 60; --i) {
      QueuedTask task;
      task.uid = uid;
      task.submitted = twins_.now();
      task.priority = random_.chance(10) ? 1 : 0;
      const TaskId id = twins_.submit(task);
      const auto& user = twins_.oracle.user(uid);
      waits_[id] =
          Wait{uid, twins_.now(), user.slotSeconds, user.virtualTime - twins_.oracle.leastVirtualTime()};
    }
  }
  void started(TaskId task) {
    const auto wait = waits_.extract(task).mapped();
    ends_.emplace_back(twins_.now() + Time(random_.next() % longest_[wait.uid - 1].count()) + 1ns, task);
    const double waited = std::chrono::duration<double>(twins_.now() - wait.since).count();
    demand(waited <= longestWait(wait), "a task waited longer than its uid's share demands");
  }

  // Slots are never idle while it waits, so the time is what was served, over the slots: its own uid's
  // tasks; what that entitles the others to by weight; and what they may get beyond it, which is the
  // longest task and a turn on every slot, at the beginning and at the end.
  double longestWait(const Wait& wait) {
    const double own = twins_.oracle.user(wait.uid).slotSeconds - wait.slotSeconds;
    const double weight = weights_[wait.uid - 1];
    const double turn = seconds(quantum_ + 1ms);
    double served = own;
    for (Uid uid = 1; uid <= uids_; ++uid) {
      if (uid == wait.uid) continue;
      served += weights_[uid - 1] * (own / weight + wait.debt / 100 + slots_ * turn / weight);
      served += 2.0 * slots_ * (seconds(longest_[uid - 1]) + turn);
    }
    return served / slots_ + seconds(longest_[wait.uid - 1]);
  }
  static double seconds(Time time) { return std::chrono::duration<double>(time).count(); }

  Random random_;
  unsigned uids_ = 1;
  unsigned slots_ = 1;
  Time quantum_{0};
  Time gap_{0};
  Twins twins_;
  std::vector<unsigned> weights_;
  std::vector<Time> longest_;
  std::vector<std::pair<Time, TaskId>> ends_;
  std::map<TaskId, Wait> waits_;
};

template <typename History>
void runHistories(std::uint64_t share) {
  if (const auto seed = numberFromEnvironment("BATON_SIM_SEED", 0); seed != 0) {
    ASSERT_NO_THROW(History(seed, &std::cout).run());
    return;
  }
#ifdef BATON_SANITIZED
  const std::uint64_t otherwise = 1'000;
#else
  const std::uint64_t otherwise = 12'000;
#endif
  const std::uint64_t seeds = numberFromEnvironment("BATON_SIM_SEEDS", otherwise) * share / 4;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    try {
      History(seed, nullptr).run();
    } catch (const Violation& violation) {
      std::ostringstream log;
      EXPECT_THROW(History(seed, &log).run(), Violation);
      const std::string text = log.str();
      FAIL() << violation.what() << ", BATON_SIM_SEED=" << seed << ", at the end of:\n"
             << text.substr(text.size() > 2000 ? text.size() - 2000 : 0);
    }
  }
}

TEST(SchedulerSimulation, AnythingAtAnyTimeKeepsTheRules) {
  runHistories<Chaos>(3);
}

TEST(SchedulerSimulation, NobodyWaitsLongerThanHisShareDemands) {
  runHistories<Machine>(1);
}

}  // namespace
}  // namespace baton::daemon
