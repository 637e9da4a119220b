#include "ctl/exit_code.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>

namespace baton::ctl {
namespace {

using ipc::wire::Cause;
using ipc::wire::State;

// An ended task with id 12.
class ExitCode : public ::testing::Test {
 protected:
  ExitCode() {
    row_.setId(12);
    row_.setState(State::FAILED);
    row_.initArgv(1).set(0, capnp::Data::Reader(reinterpret_cast<const capnp::byte*>("pro\x1bg"), 5));
  }
  Outcome end(Cause cause, bool refusedToWait = false) {
    row_.setCause(cause);
    return outcomeOf(row_.asReader(), refusedToWait);
  }

  // By pointer: its destructor may throw, a fixture's may not.
  std::unique_ptr<capnp::MallocMessageBuilder> message_ = std::make_unique<capnp::MallocMessageBuilder>();
  ipc::wire::TaskRow::Builder row_ = message_->initRoot<ipc::wire::TaskRow>();
};

TEST_F(ExitCode, OfATaskThatEndedByItselfIsItsOwnAndSilent) {
  row_.setExitCode(7);
  const Outcome outcome = end(Cause::EXITED);
  EXPECT_EQ(outcome.code, 7);
  EXPECT_EQ(outcome.line, "");
}

TEST_F(ExitCode, OfASignalIs128AndItsNumber) {
  row_.setSignal(SIGSEGV);
  const Outcome outcome = end(Cause::SIGNALLED);
  EXPECT_EQ(outcome.code, 139);
  EXPECT_EQ(outcome.line, "");
}

TEST_F(ExitCode, OfSuccessWithoutACauseIsZero) {
  row_.setState(State::SUCCEEDED);
  EXPECT_EQ(end(Cause::NONE).code, 0);
}

TEST_F(ExitCode, OfWhatBatonEndedSaysSo) {
  const struct {
    Cause cause;
    int code;
    const char* word;
  } cases[] = {{Cause::OOM, 137, "memory"},
               {Cause::TIME_LIMIT, 124, "time limit"},
               {Cause::QUEUE_LIMIT, 124, "not started"},
               {Cause::CANCELLED, 143, "cancelled"},
               {Cause::CLIENT_GONE, 143, "cancelled"},
               {Cause::WORKER_LOST, 125, "worker"},
               {Cause::NOT_FOUND, 127, "no such program"},
               {Cause::NOT_EXECUTABLE, 126, "executed"},
               {Cause::SURROUNDINGS, 125, "surroundings"},
               {Cause::UNKILLABLE, 125, "killed"},
               {Cause::DAEMON_STOPPED, 125, "daemon"}};
  for (const auto& expected : cases) {
    const Outcome outcome = end(expected.cause);
    EXPECT_EQ(outcome.code, expected.code) << expected.word;
    EXPECT_NE(outcome.line.find(expected.word), std::string::npos) << outcome.line;
  }
}

TEST_F(ExitCode, OfATaskThatRefusedToWaitIsOne) {
  EXPECT_EQ(end(Cause::QUEUE_LIMIT, true).code, 1);
  EXPECT_EQ(end(Cause::TIME_LIMIT, true).code, 124);
}

TEST_F(ExitCode, LineTellsTheLimit) {
  row_.initOptions().setTimeLimitNs(90'000'000'000);
  EXPECT_NE(end(Cause::TIME_LIMIT).line.find("1 min 30 s"), std::string::npos);
}

TEST_F(ExitCode, LineHasTheDaemonsDetailAndNoControlCharacter) {
  EXPECT_EQ(end(Cause::NOT_FOUND).line, "pro\\x1bg: no such program");
  row_.setDetail("a\tb");
  EXPECT_EQ(end(Cause::NOT_FOUND).line, "a\\tb");
}

TEST_F(ExitCode, LineNamesTheTaskOfABatch) {
  row_.setBatch(12);
  row_.setIndex(3);
  EXPECT_NE(end(Cause::OOM).line.find("task 12.3 "), std::string::npos);
}

TEST(BatchEnd, IsReachedWhenItIsClosedAndAllHaveEnded) {
  capnp::MallocMessageBuilder message;
  auto batch = message.initRoot<ipc::wire::BatchRow>();
  auto counts = batch.initCounts(9);
  batch.setTotal(3);
  counts.set(static_cast<unsigned>(State::SUCCEEDED), 2);
  counts.set(static_cast<unsigned>(State::RUNNING), 1);
  batch.setClosed(true);
  EXPECT_FALSE(hasEnded(batch.asReader()));
  counts.set(static_cast<unsigned>(State::RUNNING), 0);
  counts.set(static_cast<unsigned>(State::LOST), 1);
  EXPECT_TRUE(hasEnded(batch.asReader()));
  batch.setClosed(false);
  EXPECT_FALSE(hasEnded(batch.asReader()));
}

TEST(SignalName, AndNumberAreOneAnothersInverse) {
  for (int signal = 1; signal < SIGRTMIN; ++signal) {
    if (signal >= 32) break;  // the C library keeps these to itself
    EXPECT_EQ(signalNumber(signalName(signal)), signal);
  }
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal)
    EXPECT_EQ(signalNumber(signalName(signal)), signal);
}

TEST(SignalNumber, IsFoundByAnyUsualSpelling) {
  for (const char* name : {"KILL", "SIGKILL", "kill", "sigkill", "9"})
    EXPECT_EQ(signalNumber(name), SIGKILL) << name;
  for (const char* name : {"", "0", "65", "FOO", "9x", "-9", "SIG"}) EXPECT_EQ(signalNumber(name), 0) << name;
}

}  // namespace
}  // namespace baton::ctl
