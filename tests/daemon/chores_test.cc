#include "daemon/chores.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <vector>

#include "shm/fd.h"

namespace baton::daemon {
namespace {

// Takes longer than a slice each time.
bool longStep(int& left) {
  const auto end = monotonicNow() + kSlice;
  while (monotonicNow() < end) {
  }
  return --left > 0;
}

TEST(Chores, whatIsSmallIsDoneAtOnce) {
  Loop loop;
  Chores chores(loop);
  int left = 3;
  EXPECT_TRUE(chores.begin([&] { return --left > 0; }));
  EXPECT_EQ(left, 0);
  EXPECT_FALSE(loop.turn()) << "nothing is left to be done";
}

TEST(Chores, theLoopTurnsBetweenSlicesAndOthersAreServed) {
  Loop loop;
  Chores chores(loop);
  int served = 0;
  Source other = loop.onTurn([&] {
    ++served;
    other.enable(true);
  });
  int left = 5;
  EXPECT_FALSE(chores.begin([&] { return longStep(left); }));
  EXPECT_EQ(left, 4);
  other.enable(true);
  while (left > 0) ASSERT_TRUE(loop.turn());
  EXPECT_GE(served, 3);
}

TEST(Chores, whatIsReadyMeanwhileIsServedBeforeTheNextSlice) {
  Loop loop;
  Chores chores(loop);
  const shm::Fd event(::eventfd(0, EFD_CLOEXEC));
  int left = 10;
  std::vector<int> leftWhenServed;
  Source io = loop.onIo(event.get(), EPOLLIN, [&](std::uint32_t) { leftWhenServed.push_back(left); });
  EXPECT_FALSE(chores.begin([&] { return longStep(left); }));
  ASSERT_TRUE(loop.turn());
  ASSERT_EQ(::eventfd_write(event.get(), 1), 0);
  while (left > 0) ASSERT_TRUE(loop.turn());
  ASSERT_GE(leftWhenServed.size(), 3U);
  EXPECT_GE(leftWhenServed.front(), 6);
}

TEST(Chores, theyTakeTurns) {
  Loop loop;
  Chores chores(loop);
  std::vector<int> order;
  int a = 3;
  int b = 3;
  EXPECT_FALSE(chores.begin([&] { return order.push_back(1), longStep(a); }));
  EXPECT_FALSE(chores.begin([&] { return order.push_back(2), longStep(b); }));
  while (a > 0 || b > 0) ASSERT_TRUE(loop.turn());
  EXPECT_EQ(order, (std::vector<int>{1, 2, 1, 2, 1, 2}));
}

TEST(Chores, oneMayBeginAnother) {
  Loop loop;
  Chores chores(loop);
  int inner = 3;
  int outer = 2;
  EXPECT_FALSE(chores.begin([&] {
    if (outer == 1) chores.begin([&] { return longStep(inner); });
    return longStep(outer);
  }));
  while (inner > 0) ASSERT_TRUE(loop.turn());
  EXPECT_EQ(outer, 0);
}

}  // namespace
}  // namespace baton::daemon
