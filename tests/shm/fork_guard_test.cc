#include "shm/fork_guard.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "tests/shm/child.h"

namespace baton::shm {
namespace {

TEST(ForkGuard, knowsItsOwnProcess) {
  const ForkGuard guard;
  const ForkGuard copy = guard;
  EXPECT_FALSE(guard.inChild());
  EXPECT_FALSE(copy.inChild());
  bool inThread = true;
  std::thread([&] { inThread = guard.inChild() || ForkGuard().inChild(); }).join();
  EXPECT_FALSE(inThread);
}

TEST(ForkGuard, isDeadInAChild) {
  const ForkGuard guard;
  EXPECT_EQ(Child([&] { return guard.inChild() ? 0 : 1; }).wait(), 0);
  EXPECT_FALSE(guard.inChild());
}

// A child makes its own; they live there, the inherited ones stay dead, and so on down.
TEST(ForkGuard, eachGenerationHasItsOwn) {
  const ForkGuard first;
  Child child([&] {
    const ForkGuard second;
    if (!first.inChild() || second.inChild()) return 1;
    return Child([&] {
             if (!first.inChild() || !second.inChild()) return 2;
             const ForkGuard third;
             return first.inChild() && second.inChild() && !third.inChild() ? 0 : 3;
           })
        .wait();
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST(ForkGuard, aSecondChildIsNotTheFirst) {
  std::vector<ForkGuard> guards;
  for (int i = 0; i < 3; ++i) {
    guards.emplace_back();
    EXPECT_EQ(Child([&] {
                const ForkGuard own;
                for (const auto& guard : guards) {
                  if (!guard.inChild()) return 1;
                }
                return own.inChild() ? 2 : 0;
              }).wait(),
              0);
  }
}

TEST(ForkGuard, threadsOfAChildAgree) {
  const ForkGuard before;
  Child child([] {
    std::atomic<int> dead{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 1000; ++round) dead += ForkGuard().inChild() ? 1 : 0;
      });
    }
    for (auto& thread : threads) thread.join();
    return dead.load() == 0 ? 0 : 1;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace baton::shm
