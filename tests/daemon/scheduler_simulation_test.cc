// Long random histories against the rules (scheduler_oracle.h). BATON_SIM_SEEDS=N runs N of them;
// BATON_SIM_SEED=S runs the one with seed S, and prints it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <sstream>

#include "tests/daemon/scheduler_twins.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using namespace sim;
using State = SchedulerOracle::State;

constexpr int kEvents = 1000;

std::uint64_t numberFromEnvironment(const char* name, std::uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

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

// An office at work: tasks of one slot come, run for their time and end. Checks how long each waited.
class Office {
 public:
  Office(std::uint64_t seed, std::ostream* log) : random_(seed), twins_(options(), log) {
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
  runHistories<Office>(1);
}

}  // namespace
}  // namespace baton::daemon
