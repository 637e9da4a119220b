// Rules 1 to 5 of daemon/scheduler.h one by one, and its costs: what starts next. Rules 6 to 9 are in
// scheduler_slots_test.cc, long histories in scheduler_simulation_test.cc, shares in
// scheduler_fairness_test.cc.
#include <gtest/gtest.h>
#include <malloc.h>

#include <limits>

#include "tests/daemon/scheduler_desk.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using namespace sim;

TEST(Scheduler, HandsOutEverySlotOnceAndThenWaits) {
  Desk desk(2);
  desk.submit(kAnna);
  desk.submit(kAnna);
  desk.submit(kAnna);
  const auto first = desk.starts();
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].task, 1u);
  EXPECT_EQ(first[0].slot, 0u);
  EXPECT_EQ(first[1].task, 2u);
  EXPECT_EQ(first[1].slot, 1u);
  EXPECT_FALSE(first[0].returning);
  EXPECT_EQ(desk.scheduler.used(), 2u);
  EXPECT_EQ(desk.scheduler.queued(), 1u);
  desk.end(2);
  const Start next = desk.startOne();
  EXPECT_EQ(next.task, 3u);
  EXPECT_EQ(next.slot, 1u);
  EXPECT_EQ(desk.scheduler.slotsOf(3), std::vector<unsigned>{1});
}

// Rule 1.

TEST(Scheduler, IoTasksNeedNoSlotAndAreBoundedPerUid) {
  Desk desk(SchedulerOptions{.slots = 1, .ioPerUid = 2});
  desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  for (int i = 0; i < 3; ++i) desk.submitIo(kAnna);
  desk.submitIo(kBert);
  auto starts = desk.starts();
  ASSERT_EQ(starts.size(), 3u);
  EXPECT_EQ(starts[0].slot, kNoSlot);
  EXPECT_EQ(desk.scheduler.ioRunning(kAnna), 2u);
  EXPECT_EQ(desk.scheduler.ioRunning(kBert), 1u);
  EXPECT_EQ(desk.scheduler.used(), 1u);
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{4}));
}

TEST(Scheduler, IoTasksDoNotCountInTheFairShare) {
  Desk desk(1);
  desk.submitIo(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  desk.submit(kCarl);
  EXPECT_EQ(desk.started(), (Ids{2}));
  desk.later(10s);
  desk.submit(kAnna);  // after ten seconds in the IO lane she is level with Bert, and came first
  desk.submit(kBert);
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{3}));
}

// Rule 2.

TEST(Scheduler, StartsTheTasksOfOneUidInTheOrderOfSubmission) {
  Desk desk(1);
  desk.add({.uid = kAnna, .submitted = desk.now});
  desk.add({.uid = kAnna, .submitted = desk.now - 1s});  // a retry keeps its place
  desk.add({.uid = kAnna, .submitted = desk.now});
  Ids order;
  for (int i = 0; i < 3; ++i) {
    order.push_back(desk.startOne().task);
    desk.end(order.back());
  }
  EXPECT_EQ(order, (Ids{2, 1, 3}));
}

TEST(Scheduler, OneStepOfPriorityIsWorthAMinuteOfWaiting) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.later(59s);
  desk.submit(kAnna, 1, 1);
  desk.later(2s);
  desk.submit(kAnna, 1, 1);
  desk.submit(kAnna, 1, -1);
  EXPECT_EQ(desk.scheduler.ahead(2), 0u);
  EXPECT_EQ(desk.scheduler.ahead(1), 1u);
  EXPECT_EQ(desk.scheduler.ahead(3), 2u);
  EXPECT_EQ(desk.scheduler.ahead(4), 3u);
}

TEST(Scheduler, AbsurdPrioritiesAreTakenAsTheNearest) {
  Desk desk(1);
  desk.submit(kAnna, 1, 1000);
  desk.submit(kAnna, 1, std::numeric_limits<int>::max());
  desk.submit(kAnna, 1, std::numeric_limits<int>::min());
  EXPECT_EQ(desk.scheduler.ahead(1), 0u);
  EXPECT_EQ(desk.scheduler.ahead(2), 1u);
  EXPECT_EQ(desk.scheduler.ahead(3), 2u);
}

TEST(Scheduler, RemovesWhatIsQueuedOnly) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  EXPECT_TRUE(desk.scheduler.remove(2, desk.now));
  EXPECT_FALSE(desk.scheduler.remove(2, desk.now));
  EXPECT_FALSE(desk.scheduler.remove(1, desk.now));
  EXPECT_FALSE(desk.scheduler.remove(77, desk.now));
  desk.end(1);
  EXPECT_EQ(desk.started(), Ids{});
}

TEST(Scheduler, AddingAQueuedTaskAgainChangesNothing) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submit(kAnna);
  desk.scheduler.add({.id = 2, .uid = kAnna, .priority = 5, .submitted = desk.now}, desk.now);
  EXPECT_EQ(desk.scheduler.queued(kAnna), 2u);
  EXPECT_EQ(desk.startOne().task, 1u);
  desk.end(1);
  EXPECT_EQ(desk.startOne().task, 2u);
  desk.end(2);
  EXPECT_EQ(desk.started(), Ids{});
}

TEST(Scheduler, CountsQueuedTasksPerUid) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submitIo(kAnna);
  desk.submit(kBert);
  EXPECT_EQ(desk.scheduler.queued(), 3u);
  EXPECT_EQ(desk.scheduler.queued(kAnna), 2u);
  EXPECT_EQ(desk.scheduler.queued(kBert), 1u);
  EXPECT_EQ(desk.scheduler.queued(kCarl), 0u);
}

// Rules 3 and 4.

TEST(Scheduler, FreeSlotsGoToTheUidsInTurn) {
  Desk desk(4);
  for (int i = 0; i < 4; ++i) desk.submit(kAnna);
  for (int i = 0; i < 4; ++i) desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{1, 5, 2, 6}));
}

TEST(Scheduler, WhoHadLessSlotTimeIsNext) {
  Desk desk(2);
  for (int i = 0; i < 3; ++i) desk.submit(kAnna);
  for (int i = 0; i < 3; ++i) desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{1, 4}));
  desk.later(1s);
  desk.end(4);
  desk.end(1);
  EXPECT_EQ(desk.started(), (Ids{2, 5}));
  desk.later(1s);
  desk.end(2);
  desk.later(1s);
  desk.end(5);
  EXPECT_EQ(desk.started(), (Ids{3, 6}));
}

TEST(Scheduler, WeightsCountFromTheMomentTheyAreSet) {
  Desk desk(1);
  desk.scheduler.setWeight(kAnna, 300);
  for (int i = 0; i < 200; ++i) desk.submit(i < 100 ? kAnna : kBert);
  const auto runForty = [&desk] {
    int ofAnna = 0;
    for (int i = 0; i < 40; ++i) {
      const TaskId task = desk.startOne().task;
      ofAnna += task <= 100 ? 1 : 0;
      desk.later(1s);
      desk.end(task);
    }
    return ofAnna;
  };
  EXPECT_NEAR(runForty(), 30, 1);
  desk.scheduler.setWeight(kAnna, 100);
  EXPECT_NEAR(runForty(), 20, 1);
}

TEST(Scheduler, IdleTimeBringsNoCredit) {
  Desk desk(1);
  for (int i = 0; i < 100; ++i) desk.submit(kAnna);
  desk.startOne();
  desk.later(1h);
  for (int i = 0; i < 10; ++i) desk.submit(kBert);
  desk.end(1);
  int ofBert = 0;
  for (int i = 0; i < 10; ++i) {
    const TaskId task = desk.startOne().task;
    ofBert += task > 100 ? 1 : 0;
    desk.later(100ms);
    desk.end(task);
  }
  EXPECT_EQ(ofBert, 5);  // not all ten, although Anna has had an hour
}

TEST(Scheduler, GoingIdleForAMomentForgivesNothing) {
  Desk desk(1);
  desk.submit(kAnna);
  desk.submit(kBert);
  desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{1}));
  desk.later(10s);
  desk.end(1);  // Anna has nothing queued now
  EXPECT_EQ(desk.started(), (Ids{2}));
  desk.submit(kAnna);
  desk.later(1s);
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{3}));  // one second of Bert against ten of Anna
}

TEST(Scheduler, WhileNobodyQueuesNobodyOwes) {
  Desk desk(2);
  desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  desk.later(1h);  // alone on the machine
  desk.end(1);
  desk.submit(kBert);
  desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{2, 3}));
  desk.submit(kBert);
  desk.submit(kAnna);
  desk.later(1s);
  desk.end(2);
  EXPECT_EQ(desk.started(), (Ids{5}));  // Anna's hour took nothing from anybody
}

// Rule 5.

TEST(Scheduler, KeepsFreeSlotsForALargeTask) {
  Desk desk(3);
  for (int i = 0; i < 3; ++i) desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1, 2, 3}));
  desk.later(1s);
  const TaskId large = desk.submit(kBert, 3);
  for (int i = 0; i < 10; ++i) desk.submit(kAnna);
  desk.later(1s);
  desk.end(1);
  EXPECT_EQ(desk.started(), Ids{});
  EXPECT_EQ(desk.scheduler.keptFor(), large);
  desk.end(3);
  EXPECT_EQ(desk.started(), Ids{});
  desk.end(2);
  const Start start = desk.startOne();
  EXPECT_EQ(start.task, large);
  EXPECT_EQ(start.slot, 0u);
  EXPECT_EQ(start.slots, 3u);
  EXPECT_EQ(desk.scheduler.keptFor(), std::nullopt);
}

TEST(Scheduler, GivesKeptSlotsToOthersWhenTheLargeTaskIsCancelled) {
  Desk desk(2);
  desk.submit(kAnna);
  desk.submit(kBert, 2);
  desk.submit(kAnna);
  EXPECT_EQ(desk.started(), (Ids{1}));
  EXPECT_EQ(desk.scheduler.keptFor(), 2u);
  EXPECT_TRUE(desk.scheduler.remove(2, desk.now));
  EXPECT_EQ(desk.started(), (Ids{3}));
}

TEST(Scheduler, TheSlotsOfALargeTaskNeedNotBeNeighbours) {
  Desk desk(4);
  for (int i = 0; i < 4; ++i) desk.submit(kAnna);
  desk.started();
  desk.end(2);
  desk.end(4);
  desk.submit(kAnna, 2);
  const Start start = desk.startOne();
  EXPECT_EQ(start.slot, 1u);
  EXPECT_EQ(desk.scheduler.slotsOf(start.task), (std::vector<unsigned>{1, 3}));
}

TEST(Scheduler, KeepsNothingForATaskThatWaitsForItsOwnUid) {
  Desk desk(2);
  desk.submit(kAnna);
  desk.submit(kAnna, 2);  // needs her own running task to end
  EXPECT_EQ(desk.started(), (Ids{1}));
  EXPECT_EQ(desk.scheduler.keptFor(), std::nullopt);
  desk.later(1s);
  for (int i = 0; i < 3; ++i) desk.submit(kBert);
  EXPECT_EQ(desk.started(), (Ids{3}));
  desk.end(3);
  EXPECT_EQ(desk.started(), (Ids{4}));
  desk.later(1s);
  desk.end(1);
  EXPECT_EQ(desk.started(), Ids{});  // now only Bert is in the way
  EXPECT_EQ(desk.scheduler.keptFor(), 2u);
  desk.end(4);
  EXPECT_EQ(desk.started(), (Ids{2}));
}

TEST(Scheduler, ATaskLargerThanThePoolGetsAllOfIt) {
  Desk desk(3);
  desk.submit(kAnna, 8);
  const Start start = desk.startOne();
  EXPECT_EQ(start.slots, 3u);
  EXPECT_EQ(desk.scheduler.used(), 3u);
}

// Costs.

#ifndef BATON_SANITIZED
TEST(Scheduler, AQueuedTaskCostsLessThan150Bytes) {
  constexpr std::size_t kTasks = 1'000'000;
  const auto inUse = [] {
    const auto info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  const std::size_t before = inUse();
  Desk desk(1);
  for (std::size_t i = 0; i < kTasks; ++i) desk.submit(i % 10 == 0 ? kBert : kAnna);
  EXPECT_LT(inUse() - before, 150 * kTasks);
  EXPECT_GT(inUse() - before, 48 * kTasks);  // the measure measures
  EXPECT_EQ(desk.scheduler.ahead(kTasks), kTasks * 9 / 10 - 1);
  for (TaskId task = 1; task <= kTasks; ++task) ASSERT_TRUE(desk.scheduler.remove(task, desk.now));
  EXPECT_LT(inUse() - before, 100'000u);
}
#endif

}  // namespace
}  // namespace baton::daemon
