// Shares of the slots over a long run, with users who always have work.
#include <gtest/gtest.h>

#include <map>
#include <queue>

#include "daemon/scheduler.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;

// A user who always has a few tasks queued, all alike.
struct Load {
  Uid uid;
  Time duration;
  unsigned slots = 1;
  unsigned weight = 100;
};

class Machine {
 public:
  Machine(SchedulerOptions options, std::vector<Load> loads)
      : scheduler_(options), loads_(std::move(loads)), workers_(options.slots) {
    for (std::size_t i = 0; i < loads_.size(); ++i) {
      scheduler_.setWeight(loads_[i].uid, loads_[i].weight);
      for (int n = 0; n < 3; ++n) submit(i);
    }
  }

  void run(Time duration) {
    const Time end = now_ + duration;
    startAll();
    while (ends_.top().at <= end) {
      const End ending = ends_.top();
      ends_.pop();
      now_ = ending.at;
      scheduler_.end(ending.task, now_);
      slotTime_[loads_[ending.load].uid] += loads_[ending.load].duration * loads_[ending.load].slots;
      startAll();
    }
    now_ = end;
  }

  // In percent of all slot time that was used.
  double shareOf(Uid uid) const {
    Time all{0};
    for (const auto& [user, time] : slotTime_) all += time;
    return 100.0 * static_cast<double>(slotTime_.at(uid).count()) / static_cast<double>(all.count());
  }
  double usedPercent() const {
    Time all{0};
    for (const auto& [user, time] : slotTime_) all += time;
    return 100.0 * static_cast<double>(all.count()) /
           (static_cast<double>((now_ - 1h).count()) * workers_.size());
  }
  // Starts in a slot where another uid's worker was, or none.
  int coldStarts() const { return coldStarts_; }
  // The longest time from submit to start of a task of that load.
  Time longestWait(std::size_t load) const { return longestWait_.at(load); }

 private:
  struct End {
    Time at;
    TaskId task;
    std::size_t load;
    bool operator>(const End& other) const { return std::pair(at, task) > std::pair(other.at, other.task); }
  };

  void submit(std::size_t load) {
    submitted_[++ids_] = {load, now_};
    scheduler_.add({.id = ids_, .uid = loads_[load].uid, .slots = loads_[load].slots, .submitted = now_},
                   now_);
  }
  void startAll() {
    while (const auto start = scheduler_.next(now_)) {
      const auto [load, since] = submitted_.extract(start->task).mapped();
      longestWait_[load] = std::max(longestWait_[load], now_ - since);
      coldStarts_ += workers_[start->slot] == loads_[load].uid ? 0 : 1;
      for (const unsigned slot : scheduler_.slotsOf(start->task)) workers_[slot] = 0;
      workers_[start->slot] = loads_[load].uid;
      ends_.push({now_ + loads_[load].duration, start->task, load});
      submit(load);
    }
  }

  Scheduler scheduler_;
  std::vector<Load> loads_;
  std::vector<Uid> workers_;
  Time now_{1h};
  TaskId ids_ = 0;
  std::priority_queue<End, std::vector<End>, std::greater<>> ends_;
  std::map<TaskId, std::pair<std::size_t, Time>> submitted_;
  std::map<Uid, Time> slotTime_;
  std::map<std::size_t, Time> longestWait_;
  int coldStarts_ = 0;
};

class SchedulerShares : public ::testing::TestWithParam<unsigned> {
 protected:
  Machine machine(std::vector<Load> loads) { return Machine({.slots = GetParam()}, std::move(loads)); }
};

TEST_P(SchedulerShares, LongTasksOfOneAgainstShortTasksOfAnotherShareAlike) {
  Machine m = machine({{1, 1s}, {2, 100ms}});
  m.run(1000s);
  EXPECT_NEAR(m.shareOf(1), 50, 2);
  EXPECT_GT(m.usedPercent(), 99);
}

TEST_P(SchedulerShares, TasksShorterThanAQuantumShareAlike) {
  Machine m = machine({{1, 7ms}, {2, 1s}});
  m.run(500s);
  EXPECT_NEAR(m.shareOf(1), 50, 2);
}

TEST_P(SchedulerShares, WeightsDivideTheSlots) {
  Machine m = machine({{1, 1s, 1, 100}, {2, 100ms, 1, 300}});
  m.run(1000s);
  EXPECT_NEAR(m.shareOf(1), 25, 2);
}

TEST_P(SchedulerShares, ManyTasksAreNotManyShares) {
  Machine m = machine({{1, 1s}, {1, 300ms}, {1, 50ms}, {2, 200ms}});
  m.run(1000s);
  EXPECT_NEAR(m.shareOf(2), 50, 2);
}

TEST_P(SchedulerShares, FiveUsersGetAFifthEach) {
  Machine m = machine({{1, 1s}, {2, 100ms}, {3, 20ms}, {4, 3s}, {5, 333ms}});
  m.run(2000s);
  for (Uid uid = 1; uid <= 5; ++uid) EXPECT_NEAR(m.shareOf(uid), 20, 2) << uid;
}

TEST_P(SchedulerShares, LargeTasksShareAlikeWithSmallOnes) {
  Machine m = machine({{1, 300ms, GetParam()}, {2, 100ms}});
  m.run(1000s);
  EXPECT_NEAR(m.shareOf(1), 50, 2);
}

INSTANTIATE_TEST_SUITE_P(Slots, SchedulerShares, ::testing::Values(1, 2, 3, 4, 7, 8, 64),
                         [](const auto& info) { return std::to_string(info.param); });

TEST(SchedulerFairness, ALargeTaskStartsInBoundedTimeAgainstAFloodOfSmallOnes) {
  // Every task is of another user, so that the large one's share is small, too.
  std::vector<Load> loads{{1, 1s, 8}};
  for (Uid uid = 2; uid <= 6; ++uid) loads.push_back({uid, 100ms * uid});
  Machine m({.slots = 8}, loads);
  m.run(1000s);
  // Two stand before the third in its uid's queue: three times its share (a second on all slots out of six)
  // and a drain.
  EXPECT_LT(m.longestWait(0), 3 * (6s + 600ms) + 2s);
  for (std::size_t i = 1; i < loads.size(); ++i) EXPECT_LT(m.longestWait(i), 5s) << i;
}

TEST(SchedulerFairness, TwoUidsOnTwoSlotsKeepTheirWorkers) {
  Machine m({.slots = 2}, {{1, 7ms}, {2, 11ms}});
  m.run(100s);  // some 23,000 tasks
  EXPECT_LE(m.coldStarts(), 2);
}

TEST(SchedulerFairness, ASharedSlotChangesHandsAtMostOncePerQuantum) {
  Machine m({.slots = 3}, {{1, 7ms}, {2, 11ms}});
  m.run(100s);
  EXPECT_LE(m.coldStarts(), 100s / 50ms + 3);
  EXPECT_NEAR(m.shareOf(1), 50, 2);
}

}  // namespace
}  // namespace baton::daemon
