// A scheduler, a hand on its clock, and three users, for tests that speak of single events.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "daemon/scheduler.h"

namespace baton::daemon::sim {

using Ids = std::vector<TaskId>;

inline constexpr Uid kAnna = 1000;
inline constexpr Uid kBert = 1001;
inline constexpr Uid kCarl = 1002;

class Desk {
 public:
  explicit Desk(SchedulerOptions options) : scheduler(options) {}
  explicit Desk(unsigned slots) : Desk(SchedulerOptions{.slots = slots}) {}

  void later(Time time) { now += time; }
  // Ids count up from 1.
  TaskId submit(Uid uid, unsigned slots = 1, int priority = 0) {
    return add({.uid = uid, .slots = slots, .priority = priority, .submitted = now});
  }
  TaskId submitIo(Uid uid) { return add({.uid = uid, .lane = Lane::io, .submitted = now}); }
  TaskId add(QueuedTask task) {
    task.id = ++ids_;
    scheduler.add(task, now);
    return task.id;
  }
  // What starts or goes on now.
  std::vector<Start> starts() {
    std::vector<Start> all;
    while (const auto start = scheduler.next(now)) all.push_back(*start);
    return all;
  }
  Ids started() {
    Ids ids;
    for (const Start& start : starts()) ids.push_back(start.task);
    return ids;
  }
  Start startOne() {
    const auto all = starts();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Start{} : all.front();
  }
  void end(TaskId task) { scheduler.end(task, now); }
  bool park(TaskId task) { return scheduler.park(task, now); }
  void unpark(TaskId task) { scheduler.unpark(task, now); }

  Scheduler scheduler;
  Time now = std::chrono::hours(1);

 private:
  TaskId ids_ = 0;
};

}  // namespace baton::daemon::sim
