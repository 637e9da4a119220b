#include "ctl/run_job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <string>
#include <vector>

namespace baton::ctl {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Keeps what it was told; the shell's side of things is set by the test.
class FakeActions : public JobActions {
 public:
  void signalTask(int signal) override { did.push_back("signal " + std::to_string(signal)); }
  void cancelTask() override { did.emplace_back("cancel"); }
  void continueTask(bool front) override {
    did.emplace_back(front ? "continue in front" : "continue behind");
  }
  void holdTask(bool held) override { did.emplace_back(held ? "hold" : "release"); }
  bool hasTerminal() override { return terminal; }
  bool inForeground() override { return foreground; }
  void takeTerminal() override {
    if (!raw) did.emplace_back("raw");
    raw = true;
  }
  void leaveTerminal() override {
    if (raw) did.emplace_back("cooked");
    raw = false;
  }
  void resize() override { ++resized; }
  bool stopGroup(int signal) override {
    did.push_back("stop " + std::to_string(signal));
    return !orphaned;
  }

  bool terminal = true;
  bool foreground = true;
  bool orphaned = false;
  bool raw = false;
  int resized = 0;
  std::vector<std::string> did;
};

std::string name(const char* verb, int signal) {
  return std::string(verb) + " " + std::to_string(signal);
}

class RunJobTest : public ::testing::Test {
 protected:
  // A task that has its terminal and runs.
  RunJob started(bool wantsTerminal = true) {
    RunJob job(actions_, wantsTerminal);
    job.prepared();
    job.started();
    actions_.did.clear();
    return job;
  }

  FakeActions actions_;
  const RunJob::Time now_{};
};

TEST_F(RunJobTest, TakesTheTerminalBeforeTheTaskStarts) {
  RunJob job(actions_, true);
  EXPECT_TRUE(job.startsInFront());
  job.prepared();
  EXPECT_THAT(actions_.did, ElementsAre("raw"));
}

TEST_F(RunJobTest, LeavesTheTerminalAloneInThePipelineAndInTheBackground) {
  RunJob pipeline(actions_, false);
  EXPECT_FALSE(pipeline.startsInFront());
  pipeline.prepared();
  actions_.foreground = false;
  RunJob background(actions_, true);
  EXPECT_FALSE(background.startsInFront());
  background.prepared();
  EXPECT_THAT(actions_.did, IsEmpty());
}

TEST_F(RunJobTest, ForwardsSignalsToARunningTask) {
  auto job = started();
  job.signalled(SIGTERM, now_);
  job.signalled(SIGUSR1, now_);
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGTERM), name("signal", SIGUSR1)));
  EXPECT_FALSE(job.cancelledBy());
}

TEST_F(RunJobTest, CancelsATaskThatHasNotStarted) {
  RunJob job(actions_, true);
  job.signalled(SIGTERM, now_);
  job.refused(SIGTERM);
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGTERM), "cancel"));
  EXPECT_EQ(job.cancelledBy(), SIGTERM);
}

TEST_F(RunJobTest, DoesNotCancelATaskThatRanBeforeItWasToldSo) {
  RunJob job(actions_, true);
  job.signalled(SIGUSR1, now_);
  job.started();
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGUSR1)));
}

TEST_F(RunJobTest, CancelsAtASecondInterruptASecondLater) {
  auto job = started();
  job.signalled(SIGINT, now_);
  job.signalled(SIGINT, now_ + 900ms);
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGINT), name("signal", SIGINT)));
  job.signalled(SIGINT, now_ + 1s);
  EXPECT_EQ(actions_.did.back(), "cancel");
  EXPECT_EQ(job.cancelledBy(), SIGINT);
}

TEST_F(RunJobTest, StopsWithTheTaskAndGoesOnInFront) {
  auto job = started();
  job.stopped(SIGTSTP);
  EXPECT_THAT(actions_.did, ElementsAre("cooked", name("stop", SIGTSTP)));
  actions_.did.clear();
  job.signalled(SIGCONT, now_);
  EXPECT_TRUE(job.waiting());
  EXPECT_THAT(actions_.did, ElementsAre("continue in front"));
  job.continued();
  EXPECT_FALSE(job.waiting());
  EXPECT_EQ(actions_.did.back(), "raw");
}

TEST_F(RunJobTest, GoesOnBehindAfterBgAndStopsAgainWhenItWantsToRead) {
  auto job = started();
  job.stopped(SIGTSTP);
  actions_.foreground = false;
  actions_.did.clear();
  job.signalled(SIGCONT, now_);
  job.continued();
  job.stopped(SIGTTIN);
  EXPECT_THAT(actions_.did, ElementsAre("continue behind", name("stop", SIGTTIN)));
  actions_.foreground = true;
  actions_.did.clear();
  job.signalled(SIGCONT, now_);
  job.continued();
  EXPECT_THAT(actions_.did, ElementsAre("continue in front", "raw"));
}

TEST_F(RunJobTest, GivesTheTerminalToATaskInAPipelineOnceItWantsIt) {
  auto job = started(false);
  job.stopped(SIGTTIN);
  job.continued();
  EXPECT_THAT(actions_.did, ElementsAre("continue in front", "raw"));
}

TEST_F(RunJobTest, KeepsAPipelineBehindAfterAStop) {
  auto job = started(false);
  job.signalled(SIGTSTP, now_);
  job.stopped(SIGTSTP);
  job.signalled(SIGCONT, now_);
  job.continued();
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGTSTP), name("stop", SIGTSTP), "continue behind"));
}

TEST_F(RunJobTest, GoesOnAtOnceWhereNobodyCouldContinueIt) {
  actions_.orphaned = true;
  auto job = started();
  job.stopped(SIGTSTP);
  EXPECT_THAT(actions_.did, ElementsAre("cooked", name("stop", SIGTSTP), "continue in front"));
  job.continued();
  actions_.did.clear();
  actions_.foreground = false;
  job.stopped(SIGTTIN);
  EXPECT_THAT(actions_.did,
              ElementsAre("cooked", name("stop", SIGTTIN), name("signal", SIGHUP), "continue behind"));
}

TEST_F(RunJobTest, WithoutATerminalStopsOnlyWhenToldTo) {
  actions_.terminal = false;
  auto job = started();
  job.stopped(SIGSTOP);
  EXPECT_THAT(actions_.did, IsEmpty());
  job.continued();
  auto other = started();
  other.signalled(SIGTSTP, now_);
  other.stopped(SIGSTOP);
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGSTOP), name("stop", SIGTSTP)));
}

TEST_F(RunJobTest, StoppedWhileItWaitsForASlotItIsNotStarted) {
  RunJob job(actions_, true);
  job.signalled(SIGTSTP, now_);
  job.refused(SIGTSTP);
  EXPECT_THAT(actions_.did, ElementsAre(name("signal", SIGTSTP), "hold", name("stop", SIGTSTP)));
  job.signalled(SIGCONT, now_);
  EXPECT_EQ(actions_.did.back(), "release");
}

TEST_F(RunJobTest, TellsTheSizeWhenItChangedOrMayHave) {
  auto job = started();
  job.signalled(SIGWINCH, now_);
  EXPECT_EQ(actions_.resized, 1);
  job.stopped(SIGTSTP);
  job.signalled(SIGCONT, now_);
  EXPECT_EQ(actions_.resized, 2);
}

}  // namespace
}  // namespace baton::ctl
