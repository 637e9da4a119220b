#include "daemon/batch_tasks.h"

#include <gtest/gtest.h>

#include <vector>

#include "daemon/task.h"

namespace baton::daemon {
namespace {

std::vector<Task*> all(const BatchTasks& tasks) {
  std::vector<Task*> found;
  tasks.forEach([&found](Task& task) { found.push_back(&task); });
  return found;
}

TEST(BatchTasks, FindsByIndexFromOne) {
  Task first;
  Task second;
  BatchTasks tasks;
  tasks.add(first);
  tasks.add(second);
  EXPECT_EQ(tasks.added(), 2U);
  EXPECT_EQ(tasks.at(1), &first);
  EXPECT_EQ(tasks.at(2), &second);
  EXPECT_EQ(tasks.at(0), nullptr);
  EXPECT_EQ(tasks.at(3), nullptr);
}

TEST(BatchTasks, KeepsIndicesWhenRecordsAreDropped) {
  Task each[4];
  BatchTasks tasks;
  for (Task& task : each) tasks.add(task);
  tasks.drop(2);
  EXPECT_EQ(tasks.dropped(), 0U) << "the first is still there";
  EXPECT_EQ(tasks.at(2), nullptr);
  EXPECT_EQ(tasks.at(3), &each[2]);
  tasks.drop(1);
  EXPECT_EQ(tasks.dropped(), 2U);
  EXPECT_EQ(tasks.at(1), nullptr);
  EXPECT_EQ(tasks.at(4), &each[3]);
  EXPECT_EQ(tasks.added(), 4U);
  EXPECT_EQ(all(tasks), (std::vector<Task*>{&each[2], &each[3]}));
}

TEST(BatchTasks, TakesNoRoomForWhatIsGone) {
  constexpr std::uint64_t kMany = 1'000'000;
  Task task;
  BatchTasks tasks;
  for (std::uint64_t index = 1; index <= kMany; ++index) {
    tasks.add(task);
    tasks.drop(index);
  }
  EXPECT_EQ(tasks.dropped(), kMany);
  EXPECT_EQ(tasks.added(), kMany);
  EXPECT_TRUE(all(tasks).empty());
}

}  // namespace
}  // namespace baton::daemon
