// Who waits for whom in pipelines of `run`.
#include "daemon/pipelines.h"

#include <gmock/gmock.h>

namespace baton::daemon {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// a | b | c | d, by the pipes 10, 20, 30.
constexpr PipeEnds kA{0, {10, 0}};
constexpr PipeEnds kB{10, {20, 0}};
constexpr PipeEnds kC{20, {0, 30}};
constexpr PipeEnds kD{30, {}};

template <typename Begin, typename End>
auto changes(Begin begin, End end) {
  return AllOf(Field("begin", &Pipelines::Change::begin, begin), Field("end", &Pipelines::Change::end, end));
}
const auto kNothing = changes(IsEmpty(), IsEmpty());

TEST(Pipelines, WhoRunsWaitsUntilTheLastOneHasStarted) {
  Pipelines pipelines;
  EXPECT_THAT(pipelines.queued(1, kA), kNothing);
  EXPECT_THAT(pipelines.queued(2, kB), kNothing);
  EXPECT_THAT(pipelines.queued(3, kC), kNothing);
  EXPECT_THAT(pipelines.started(2), changes(ElementsAre(2), IsEmpty()));
  EXPECT_THAT(pipelines.started(1), changes(ElementsAre(1), IsEmpty()));
  EXPECT_THAT(pipelines.started(3), changes(IsEmpty(), UnorderedElementsAre(1, 2)));
}

TEST(Pipelines, OneThatComesLaterIsWaitedForByAllOfThem) {
  Pipelines pipelines;
  for (const auto& [task, ends] : {std::pair{2, kB}, {3, kC}, {4, kD}}) {
    pipelines.queued(task, ends);
    pipelines.started(task);
  }
  EXPECT_THAT(pipelines.queued(1, kA), changes(UnorderedElementsAre(2, 3, 4), IsEmpty()));
  EXPECT_THAT(pipelines.left(1), changes(IsEmpty(), UnorderedElementsAre(2, 3, 4)));
}

TEST(Pipelines, OneThatLeavesTakesTheOthersApart) {
  Pipelines pipelines;
  for (const auto& [task, ends] : {std::pair{1, kA}, {2, kB}, {3, kC}}) {
    pipelines.queued(task, ends);
    pipelines.started(task);
  }
  EXPECT_THAT(pipelines.queued(4, kD), changes(UnorderedElementsAre(1, 2, 3), IsEmpty()));
  EXPECT_THAT(pipelines.left(2), changes(IsEmpty(), ElementsAre(1)));
  EXPECT_THAT(pipelines.started(4), changes(IsEmpty(), ElementsAre(3)));
}

TEST(Pipelines, OneThatRunsAgainWaitsAnew) {
  Pipelines pipelines;
  pipelines.queued(1, kA);
  pipelines.queued(2, kB);
  EXPECT_THAT(pipelines.started(1), changes(ElementsAre(1), IsEmpty()));
  EXPECT_THAT(pipelines.left(1), kNothing);
  EXPECT_THAT(pipelines.queued(1, kA), kNothing);
  EXPECT_THAT(pipelines.started(1), changes(ElementsAre(1), IsEmpty()));
}

TEST(Pipelines, WhoHasEndedNeitherWaitsNorIsWaitedFor) {
  Pipelines pipelines;
  pipelines.queued(1, kA);
  pipelines.started(1);
  EXPECT_THAT(pipelines.left(1), kNothing);
  EXPECT_THAT(pipelines.queued(2, kB), kNothing);
  EXPECT_THAT(pipelines.left(2), kNothing);
  EXPECT_THAT(pipelines.left(2), kNothing);
  EXPECT_THAT(pipelines.started(2), kNothing);
}

TEST(Pipelines, TwoThatWriteToOneOrReadFromOneAreNone) {
  Pipelines pipelines;
  pipelines.queued(1, kA);
  pipelines.started(1);
  EXPECT_THAT(pipelines.queued(2, {0, {10, 10}}), kNothing);
  pipelines.queued(3, kC);
  pipelines.started(3);
  EXPECT_THAT(pipelines.queued(4, {20, {}}), kNothing);
}

// What clients say of their pipes may be anything: a change is bounded, and who is beyond the bound keeps its
// slot.
TEST(Pipelines, VeryManyAtOnePipeAreNotAllOfThePipeline) {
  Pipelines pipelines;
  for (TaskId task = 1; task <= 1000; ++task) {
    pipelines.queued(task, {10, {}});
    pipelines.started(task);
  }
  EXPECT_EQ(pipelines.queued(2000, kA).begin.size(), 32U);
  EXPECT_EQ(pipelines.left(2000).end.size(), 32U);
}

TEST(Pipelines, AVeryLongOneIsNotFollowedToItsEnd) {
  Pipelines pipelines;
  for (TaskId task = 1; task <= 1000; ++task) {
    pipelines.queued(task, {task, {task + 1, 0}});
    pipelines.started(task);
  }
  EXPECT_EQ(pipelines.queued(2000, {0, {1, 0}}).begin.size(), 255U);
}

}  // namespace
}  // namespace baton::daemon
