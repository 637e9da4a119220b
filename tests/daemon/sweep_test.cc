#include "daemon/sweep.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/loop.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr Uid kMe = 1000;
constexpr Uid kOther = 1001;

class SweepTest : public ::testing::Test {
 protected:
  SweepTest() {
    std::string path = ::testing::TempDir() + "sweepXXXXXX";
    root_ = mkdtemp(path.data());
    ids_ = std::make_unique<IdCounter>(root_);
    registry_ = std::make_unique<Registry>(*ids_, Retention{});
  }
  ~SweepTest() override {
    registry_.reset();
    ids_.reset();
    std::filesystem::remove_all(root_);
  }

  std::uint64_t task(Uid uid = kMe) { return registry_->addTask(uid).number; }
  std::uint64_t batch(int tasks) {
    Batch& batch = registry_->addBatch(kMe);
    for (int i = 0; i < tasks; ++i) registry_->addTaskTo(batch);
    return batch.number;
  }
  ipc::wire::Selection::Reader select(std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> wanted) {
    auto selection = message_->initRoot<ipc::wire::Selection>();
    auto refs = selection.initRefs(static_cast<unsigned>(wanted.size()));
    unsigned i = 0;
    for (const auto& [number, index] : wanted) {
      refs[i].setId(number);
      refs[i++].setIndex(index);
    }
    return selection.asReader();
  }
  Sweep sweep(std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> wanted) {
    return {*registry_, kMe, select(wanted), Sweep::Kind::every};
  }
  // Labels of all that it visits; `meanwhile` is called after each step.
  static std::vector<std::string> labels(
      Sweep sweep, const std::function<void()>& meanwhile = [] {}) {
    std::vector<std::string> result;
    while (sweep.step([&](const Task& task) { result.push_back(labelOf(task)); })) meanwhile();
    return result;
  }

  std::string root_;
  std::unique_ptr<IdCounter> ids_;
  std::unique_ptr<Registry> registry_;
  std::unique_ptr<capnp::MallocMessageBuilder> message_ = std::make_unique<capnp::MallocMessageBuilder>();
};

TEST_F(SweepTest, visitsWhatIsNamedInThatOrder) {
  const auto one = task();
  const auto many = batch(3);
  const auto two = task();
  EXPECT_EQ(labels(sweep({{two, 0}, {many, 0}, {many, 2}, {one, 0}})),
            (std::vector<std::string>{"3", "2.1", "2.2", "2.3", "2.2", "1"}));
}

TEST_F(SweepTest, visitsAllOfABatchHoweverLarge) {
  const auto many = batch(1000);
  EXPECT_EQ(labels(sweep({{many, 0}})).size(), 1000U);
}

TEST_F(SweepTest, anUnknownIdIsToldBeforeAnythingIsVisited) {
  const auto one = task();
  const auto many = batch(2);
  const auto foreign = task(kOther);
  const auto bad = [&](std::uint64_t number, std::uint32_t index) {
    Sweep sweep = this->sweep({{one, 0}, {number, index}});
    int visited = 0;
    EXPECT_THROW(while (sweep.step([&](const Task&) { ++visited; })){}, Error) << number << "." << index;
    EXPECT_EQ(visited, 0);
  };
  bad(99, 0);
  bad(many, 3);
  bad(one, 1);
  bad(foreign, 0);
}

TEST_F(SweepTest, everythingIsWhatIsUnfinishedAndThereNow) {
  task();
  const auto many = batch(20);
  registry_->setState(*registry_->entry(many, kMe)->batch->tasks.at(5), State::SUCCEEDED);
  auto all = message_->initRoot<ipc::wire::Selection>();
  all.setAll(true);
  task(kOther);
  Sweep sweep(*registry_, kMe, all.asReader(), Sweep::Kind::every);
  task();
  EXPECT_EQ(labels(sweep).size(), 20U);
  EXPECT_EQ(labels(Sweep(*registry_)).size(), 22U) << "of every uid";
}

TEST_F(SweepTest, whatIsDroppedMeanwhileIsPassedOver) {
  registry_->setRetention({0, {}, 0});
  const auto many = batch(100);
  const auto one = task();
  Batch& batch = *registry_->entry(many, kMe)->batch;
  int step = 0;
  const auto seen = labels(sweep({{many, 0}, {one, 0}}), [&] {
    if (++step != 2) return;
    batch.tasks.forEach([&](Task& task) { registry_->setState(task, State::FAILED); });
    batch.closed = true;
    registry_->retire(batch, monotonicNow());
  });
  EXPECT_LT(seen.size(), 100U);
  EXPECT_EQ(seen.back(), labelOf(*registry_->entry(one, kMe)->task));
}

TEST_F(SweepTest, beginsAgain) {
  const auto many = batch(5);
  Sweep sweep = this->sweep({{many, 0}});
  int visited = 0;
  const auto count = [&](const Task&) { ++visited; };
  while (sweep.step(count)) {
  }
  sweep.rewind();
  while (sweep.step(count)) {
  }
  EXPECT_EQ(visited, 10);
}

TEST_F(SweepTest, entriesAreVisitedAsNamed) {
  const auto many = batch(5);
  const auto one = task();
  Sweep sweep = this->sweep({{many, 0}, {many, 3}, {one, 0}});
  std::vector<std::pair<std::uint64_t, std::uint32_t>> seen;
  while (sweep.stepEntries(
      [&](const Registry::Entry& entry, std::uint32_t index) { seen.emplace_back(entry.id, index); })) {
  }
  EXPECT_EQ(seen, (std::vector<std::pair<std::uint64_t, std::uint32_t>>{{many, 0}, {many, 3}, {one, 0}}));
}

TEST_F(SweepTest, aBatchThatIsNotKeptIsDroppedInSteps) {
  registry_->setRetention({0, {}, 1'000'000});
  int asked = 0;
  int dropped = 0;
  registry_->onDropBatch = [&] { ++asked; };
  registry_->onDrop = [&](const Task&) { ++dropped; };
  Batch& batch = *registry_->entry(this->batch(1000), kMe)->batch;
  batch.tasks.forEach([&](Task& task) { registry_->setState(task, State::FAILED); });
  batch.closed = true;
  const TaskId key = batch.tasks.at(1)->key;
  registry_->retire(batch, monotonicNow());
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(registry_->newest(), 0U);
  EXPECT_TRUE(registry_->dropSome());
  EXPECT_GT(dropped, 0);
  EXPECT_LT(dropped, 200);
  while (registry_->dropSome()) {
  }
  EXPECT_EQ(dropped, 1000);
  EXPECT_EQ(registry_->find(key), nullptr);
}

}  // namespace
}  // namespace baton::daemon
