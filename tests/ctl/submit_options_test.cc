#include "ctl/submit_options.h"

#include <capnp/message.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

using std::chrono::seconds;

class Submit : public ::testing::Test {
 protected:
  ipc::wire::TaskOptions::Reader fill() {
    auto options = message_->initRoot<ipc::wire::TaskOptions>();
    options_.fill(options);
    return options.asReader();
  }
  std::string value(const char* name) {
    const auto surroundings = options_.surroundings();
    const char* found = ipc::environmentValue(surroundings, name);
    return found == nullptr ? "(unset)" : found;
  }
  std::string rejection() {
    try {
      options_.check();
      static_cast<void>(options_.surroundings());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::usage);
      return error.what();
    }
    return "";
  }

  SubmitOptions options_;
  // By pointer: its destructor may throw, a fixture's may not.
  std::unique_ptr<capnp::MallocMessageBuilder> message_ = std::make_unique<capnp::MallocMessageBuilder>();
};

TEST_F(Submit, WithoutOptionsIsWhatTheProtocolHasByDefault) {
  capnp::MallocMessageBuilder message;
  const auto expected = message.initRoot<ipc::wire::TaskOptions>().asReader();
  EXPECT_EQ(fill().toString().flatten(), expected.toString().flatten());
}

TEST_F(Submit, CarriesEveryOption) {
  options_.name = "n";
  options_.priority = -7;
  options_.slots = 3;
  options_.timeLimit = seconds(1);
  options_.grace = seconds(0);
  options_.queueLimit = seconds(3);
  options_.held = true;
  options_.attempts = 4;
  options_.detachChildren = true;
  options_.stdinPath = "i";
  options_.stdoutPath = "o";
  options_.stderrPath = "e";
  const auto options = fill();
  EXPECT_STREQ(options.getName().cStr(), "n");
  EXPECT_EQ(options.getPriority(), -7);
  EXPECT_EQ(options.getSlots(), 3);
  EXPECT_EQ(options.getLane(), ipc::wire::Lane::CPU);
  EXPECT_EQ(options.getTimeLimitNs(), 1'000'000'000U);
  EXPECT_EQ(options.getGraceNs(), 0U);
  EXPECT_EQ(options.getQueueLimitNs(), 3'000'000'000U);
  EXPECT_TRUE(options.getHeld());
  EXPECT_EQ(options.getAttempts(), 4);
  EXPECT_TRUE(options.getDetachChildren());
  EXPECT_EQ(options.getStdinPath().asChars()[0], 'i');
  EXPECT_EQ(options.getStdoutPath().asChars()[0], 'o');
  EXPECT_EQ(options.getStderrPath().asChars()[0], 'e');
}

TEST_F(Submit, NowOrNeverIsTheLeastQueueLimit) {
  options_.refuseToWait = true;
  EXPECT_EQ(fill().getQueueLimitNs(), 1U);
  options_.refuseToWait = false;
  options_.queueLimit = seconds(0);
  EXPECT_EQ(fill().getQueueLimitNs(), 1U);
}

TEST_F(Submit, RefusesContradictions) {
  options_.io = true;
  EXPECT_EQ(rejection(), "");
  options_.slots = 2;
  EXPECT_NE(rejection().find("--cpus"), std::string::npos);
  options_ = {};
  options_.refuseToWait = true;
  options_.held = true;
  EXPECT_NE(rejection().find("--hold"), std::string::npos);
  options_.held = false;
  options_.queueLimit = seconds(1);
  EXPECT_NE(rejection().find("--queue-timeout"), std::string::npos);
  options_ = {};
  options_.name = std::string(129, 'x');
  EXPECT_NE(rejection().find("--name"), std::string::npos);
}

TEST_F(Submit, TakesThisEnvironmentAndChangesIt) {
  ::setenv("BATON_TEST_HERE", "here", 1);
  EXPECT_EQ(value("BATON_TEST_HERE"), "here");
  options_.environment = {"BATON_TEST_HERE=there", "BATON_TEST_NEW=a=b", "BATON_TEST_EMPTY="};
  EXPECT_EQ(value("BATON_TEST_HERE"), "there");
  EXPECT_EQ(value("BATON_TEST_NEW"), "a=b");
  EXPECT_EQ(value("BATON_TEST_EMPTY"), "");
}

TEST_F(Submit, WithoutEnvironmentHasWhatIsNamed) {
  ::setenv("BATON_TEST_HERE", "here", 1);
  options_.emptyEnvironment = true;
  options_.environment = {"BATON_TEST_HERE", "X=1"};
  EXPECT_EQ(options_.surroundings().environment, (std::vector<std::string>{"BATON_TEST_HERE=here", "X=1"}));
}

TEST_F(Submit, RefusesAVariableThatIsNotSetOrHasNoName) {
  ::unsetenv("BATON_TEST_NOT_SET");
  options_.environment = {"BATON_TEST_NOT_SET"};
  EXPECT_NE(rejection().find("BATON_TEST_NOT_SET"), std::string::npos);
  options_.environment = {"=x"};
  EXPECT_NE(rejection(), "");
}

TEST_F(Submit, RunsInTheDirectoryNamed) {
  options_.directory = "/usr/../tmp";
  EXPECT_EQ(options_.surroundings().cwd, "/tmp");
  EXPECT_EQ(value("PWD"), "/tmp");
}

TEST_F(Submit, RefusesADirectoryThatIsNone) {
  options_.directory = "/nonexistent/baton";
  EXPECT_EQ(rejection(), "-C /nonexistent/baton: No such file or directory");
  options_.directory = "/dev/null";
  EXPECT_EQ(rejection(), "-C /dev/null: Not a directory");
}

}  // namespace
}  // namespace baton::ctl
