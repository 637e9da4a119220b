#include "daemon/task_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace baton::daemon {
namespace {

TEST(TaskOrder, IsTheSortedListThroughEveryInsertAndErase) {
  std::mt19937 random(1);
  std::deque<QueueEntry> entries;  // keeps its elements where they are
  std::vector<QueueEntry*> in;
  std::vector<QueueEntry*> out;
  TaskOrder order;
  for (TaskId id = 1; id <= 300; ++id) {
    entries.emplace_back().id = id;
    entries.back().orderNs = random() % 100;
    out.push_back(&entries.back());
  }
  for (int step = 0; step < 20'000; ++step) {
    const bool grow = in.empty() || (!out.empty() && random() % 2 == 0);
    auto& from = grow ? out : in;
    auto& to = grow ? in : out;
    const std::size_t at = random() % from.size();
    QueueEntry* entry = from[at];
    grow ? order.insert(*entry) : order.erase(*entry);
    from.erase(from.begin() + at);
    to.push_back(entry);

    ASSERT_EQ(order.size(), in.size());
    ASSERT_EQ(order.empty(), in.empty());
    std::sort(in.begin(), in.end(), [](auto* a, auto* b) { return a->before(*b); });
    ASSERT_EQ(order.first(), in.empty() ? nullptr : in.front());
    for (std::size_t i = 0; i < in.size(); i += 7) ASSERT_EQ(order.ahead(*in[i]), i);
  }
}

TEST(TaskOrder, StaysShallowWhenEntriesComeInOrder) {
  std::deque<QueueEntry> entries(1 << 16);
  TaskOrder order;
  TaskId id = 0;
  for (QueueEntry& entry : entries) {
    entry.id = ++id;
    order.insert(entry);
  }
  // The path to the last one, read off the counts: each step down leaves less below.
  const auto deepest = [&](const QueueEntry& target) {
    int depth = 0;
    const QueueEntry* top = nullptr;
    for (const QueueEntry& entry : entries) {
      if (entry.count == entries.size()) top = &entry;
    }
    while (top != nullptr && top != &target) {
      top = top->before(target) ? top->right : top->left;
      ++depth;
    }
    return top == nullptr ? 1000 : depth;
  };
  EXPECT_LT(deepest(entries.front()), 60);
  EXPECT_LT(deepest(entries[entries.size() / 2]), 60);
  EXPECT_LT(deepest(entries.back()), 60);
}

}  // namespace
}  // namespace baton::daemon
