// Rules 6 to 9 of daemon/scheduler.h one by one: who gets which slot, and gives it back.
#include <gtest/gtest.h>

#include "tests/daemon/scheduler_desk.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using namespace sim;

// Rules 6 and 7.

TEST(SchedulerSlots, ASlotChangesHandsOnlyAfterTheQuantum) {
  Desk desk(SchedulerOptions{.slots = 1, .quantum = 50ms});
  for (int i = 0; i < 20; ++i) desk.submit(kAnna);
  for (int i = 0; i < 20; ++i) desk.submit(kBert);
  std::string order;
  for (int i = 0; i < 20; ++i) {
    const TaskId task = desk.startOne().task;
    order += task <= 20 ? 'a' : 'b';
    desk.later(10ms);
    desk.end(task);
  }
  EXPECT_EQ(order, "aaaaabbbbbaaaaabbbbb");
}

TEST(SchedulerSlots, NobodyWaitsForATurnThatItsUidDoesNotUse) {
  Desk desk(SchedulerOptions{.slots = 1, .quantum = 50ms});
  desk.submit(kAnna);
  desk.submit(kBert);
  desk.startOne();
  desk.later(1ms);
  desk.end(1);
  EXPECT_EQ(desk.started(), (Ids{2}));
}

TEST(SchedulerSlots, GoesWhereItsWorkerIsWarmThenWhereNoneIsThenToTheLeastRecentlyUsed) {
  Desk desk(4);
  for (int i = 0; i < 3; ++i) desk.submit(i == 1 ? kBert : kAnna);
  desk.started();  // 1: Anna in 0, 2: Bert in 1, 3: Anna in 2; none in 3
  desk.later(1s);
  desk.end(3);
  desk.later(1s);
  desk.end(2);
  desk.later(1s);
  desk.end(1);
  desk.later(1s);
  desk.submit(kBert);
  EXPECT_EQ(desk.startOne().slot, 1u);  // his own
  desk.submit(kBert);
  EXPECT_EQ(desk.startOne().slot, 3u);  // nobody's
  desk.submit(kBert);
  EXPECT_EQ(desk.startOne().slot, 2u);  // Anna's, the older
  desk.submit(kAnna);
  EXPECT_EQ(desk.startOne().slot, 0u);
}

TEST(SchedulerSlots, TheWorkerUsedLastIsTheWarmest) {
  Desk desk(3);
  for (int i = 0; i < 3; ++i) desk.submit(kAnna);
  desk.started();
  for (const TaskId task : {3, 1, 2}) {
    desk.later(1s);
    desk.end(task);
  }
  desk.submit(kAnna);
  EXPECT_EQ(desk.startOne().slot, 1u);
}

// Rule 8.

TEST(SchedulerSlots, AParkedTaskGivesItsSlotAndReturnsBeforeEverythingQueued) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submit(kAnna);
  desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{1}));
  desk.later(1ms);
  EXPECT_TRUE(desk.park(1));
  EXPECT_EQ(desk.scheduler.parked(kAnna), 1u);
  EXPECT_EQ(desk.started(), (Ids{3}));  // the turn is over with the worker that left
  desk.unpark(1);
  EXPECT_EQ(desk.started(), Ids{});
  desk.end(3);
  desk.submit(kBert);
  const Start back = desk.startOne();
  EXPECT_EQ(back.task, 1u);
  EXPECT_EQ(back.slot, 0u);
  EXPECT_TRUE(back.returning);
  EXPECT_EQ(desk.scheduler.parked(kAnna), 0u);
}

TEST(SchedulerSlots, ReturningTasksGoOnInTheOrderTheyAsked) {
  Desk desk(3);
  for (int i = 0; i < 3; ++i) desk.submit(i == 0 ? kAnna : kBert);
  desk.started();
  for (TaskId task = 1; task <= 3; ++task) EXPECT_TRUE(desk.park(task));
  for (int i = 0; i < 3; ++i) desk.submit(kCarl);
  desk.started();
  for (const TaskId task : {3, 1, 2}) desk.unpark(task);
  Ids order;
  for (TaskId task = 4; task <= 6; ++task) {
    desk.end(task);
    order.push_back(desk.startOne().task);
  }
  EXPECT_EQ(order, (Ids{3, 1, 2}));
}

TEST(SchedulerSlots, FreeSlotsAreKeptForALargeReturningTask) {
  Desk desk(2);
  desk.submit(kAnna, 2);
  desk.started();
  EXPECT_TRUE(desk.park(1));
  desk.submit(kBert);
  desk.submit(kBert);
  desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{2, 3}));
  desk.unpark(1);
  desk.end(2);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_EQ(desk.scheduler.keptFor(), 1u);
  desk.end(3);
  EXPECT_EQ(desk.startOne().task, 1u);
}

TEST(SchedulerSlots, TooManyParkedTasksOfAUidAreRefused) {
  Desk desk(SchedulerOptions{.slots = 3, .parkedPerUid = 2});
  for (int i = 0; i < 3; ++i) desk.submit(kAnna);
  desk.started();
  EXPECT_TRUE(desk.park(1));
  EXPECT_TRUE(desk.park(2));
  desk.unpark(2);  // returning counts too
  EXPECT_FALSE(desk.park(3));
  EXPECT_EQ(desk.scheduler.used(), 1u);
  desk.startOne();
  EXPECT_TRUE(desk.park(3));
}

TEST(SchedulerSlots, AReturningTaskMayWaitAnewOrEnd) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submit(kAnna);
  desk.submit(kAnna);
  desk.started();
  EXPECT_TRUE(desk.park(1));
  desk.started();
  desk.unpark(1);
  EXPECT_TRUE(desk.park(1));
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{3}));
  desk.unpark(1);
  desk.end(1);
  desk.end(3);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_EQ(desk.scheduler.parked(), 0u);
}

TEST(SchedulerSlots, TimeParkedIsFree) {
  Desk desk(2);
  desk.submit(kAnna);
  desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{1, 2}));
  EXPECT_TRUE(desk.park(1));
  desk.submit(kCarl);
  desk.started();
  desk.submit(kBert);
  desk.submit(kAnna);
  desk.later(1s);
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{5}));  // Anna has had nothing meanwhile
}

TEST(SchedulerSlots, NestedTasksOnOneSlotEnd) {
  Desk desk(1);
  for (TaskId task = 1; task <= 20; ++task) {
    desk.submit(kAnna);
    EXPECT_EQ(desk.startOne().task, task);
    EXPECT_TRUE(desk.park(task));
  }
  desk.unpark(20);
  desk.startOne();
  for (TaskId task = 20; task > 1; --task) {
    desk.end(task);
    desk.unpark(task - 1);
    EXPECT_EQ(desk.startOne().task, task - 1);
  }
}

TEST(SchedulerSlots, AParkedIoTaskGivesItsPlace) {
  Desk desk(SchedulerOptions{.slots = 1, .ioPerUid = 1});
  desk.submitIo(kAnna);
  desk.submitIo(kAnna);
  desk.submitIo(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  EXPECT_TRUE(desk.park(1));
  EXPECT_EQ(desk.started(), (Ids{2}));
  desk.unpark(1);
  EXPECT_EQ(desk.started(), Ids{});
  desk.end(2);
  const Start back = desk.startOne();
  EXPECT_EQ(back.task, 1u);
  EXPECT_TRUE(back.returning);
}

// Rule 9.

TEST(SchedulerSlots, AForcedTaskRunsOverTheBudgetAndNothingStartsUntilThatIsMadeUp) {
  Desk desk(2);
  for (int i = 0; i < 4; ++i) desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1, 2}));
  EXPECT_TRUE(desk.park(1));
  EXPECT_EQ(desk.started(), (Ids{3}));
  desk.unpark(1);
  desk.scheduler.forceRun(1, desk.now);
  EXPECT_EQ(desk.scheduler.over(), 1u);
  EXPECT_EQ(desk.scheduler.used(), 3u);
  EXPECT_TRUE(desk.scheduler.slotsOf(1).empty());
  EXPECT_EQ(desk.started(), Ids{});
  desk.end(2);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_EQ(desk.scheduler.over(), 0u);
  desk.end(1);
  EXPECT_EQ(desk.started(), (Ids{4}));
}

TEST(SchedulerSlots, AForcedTaskTakesAFreeSlotIfThereIsOne) {
  Desk desk(2);
  desk.submit(kAnna);
  desk.started();
  EXPECT_TRUE(desk.park(1));
  desk.scheduler.forceRun(1, desk.now);
  EXPECT_EQ(desk.scheduler.over(), 0u);
  EXPECT_EQ(desk.scheduler.slotsOf(1).size(), 1u);
  EXPECT_EQ(desk.started(), Ids{});  // not handed out a second time
  desk.unpark(1);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_TRUE(desk.park(1));
  EXPECT_EQ(desk.scheduler.used(), 0u);
}

TEST(SchedulerSlots, AForcedIoTaskMayExceedTheLane) {
  Desk desk(SchedulerOptions{.slots = 1, .ioPerUid = 1});
  for (int i = 0; i < 3; ++i) desk.submitIo(kAnna);
  desk.started();
  EXPECT_TRUE(desk.park(1));
  desk.started();
  desk.scheduler.forceRun(1, desk.now);
  EXPECT_EQ(desk.scheduler.ioRunning(kAnna), 2u);
  desk.end(2);
  EXPECT_EQ(desk.started(), Ids{});
  desk.end(1);
  EXPECT_EQ(desk.started(), (Ids{3}));
}

TEST(SchedulerSlots, FewerSlotsLeaveRunningTasksAlone) {
  Desk desk(4);
  for (int i = 0; i < 6; ++i) desk.submit(kAnna);
  desk.started();
  desk.scheduler.setSlots(2, desk.now);
  EXPECT_EQ(desk.scheduler.over(), 2u);
  desk.end(1);
  desk.end(2);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_EQ(desk.scheduler.over(), 0u);
  desk.end(4);
  EXPECT_EQ(desk.startOne().slot, 0u);
  desk.end(3);
  EXPECT_EQ(desk.startOne().slot, 1u);
  desk.scheduler.setSlots(3, desk.now);
  desk.submit(kAnna);
  EXPECT_EQ(desk.startOne().slot, 2u);
}

}  // namespace
}  // namespace baton::daemon
