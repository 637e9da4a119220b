#include "ctl/map/halt.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ipc/error.h"
#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

JobEnd exited(int code) {
  return {code, 0, false};
}

// How map would end: jobs run one at a time and exit with these codes.
struct Course {
  std::size_t ended = 0;
  int exitCode = 0;
};
Course course(const std::string& policy, const std::vector<int>& codes) {
  Halt halt(parseHalt(policy));
  halt.setTotal(codes.size());
  std::size_t ended = 0;
  for (const int code : codes) {
    ++ended;
    if (halt.jobEnded(exited(code)) != Go::on) break;
  }
  return {ended, halt.exitCode()};
}

TEST(MapHalt, UnderstandsEverySpelling) {
  using When = HaltPolicy::When;
  using Why = HaltPolicy::Why;
  const auto is = [](const std::string& text, When when, Why why, std::uint64_t threshold, bool percent) {
    const HaltPolicy policy = parseHalt(text);
    EXPECT_TRUE(policy.when == when && policy.why == why && policy.threshold == threshold &&
                policy.percent == percent)
        << text;
  };
  is("never", When::never, Why::fail, 0, false);
  is("0", When::never, Why::fail, 0, false);
  is("1", When::soon, Why::fail, 1, false);
  is("2", When::now, Why::fail, 1, false);
  is("-1", When::soon, Why::success, 1, false);
  is("-2", When::now, Why::success, 1, false);
  is("30%", When::soon, Why::fail, 30, true);
  is("now,fail=1", When::now, Why::fail, 1, false);
  is("soon,success=25%", When::soon, Why::success, 25, true);
  is("now,done=12", When::now, Why::done, 12, false);
  is("never,fail=1", When::never, Why::fail, 1, false);
}

TEST(MapHalt, RefusesEverythingElse) {
  for (const std::string text :
       {"",           "now",          "soon",        "now,",
        "now,fail",   "now,fail=",    "now,fail=0",  "now,fail=0%",
        "now,fail=x", "now,fail=1.5", "now,fail=-1", "now,fail=1,x",
        "now,fail=%", "later,fail=1", "now,foo=1",   "3",
        "0%",         "NOW,FAIL=1",   "now=1,fail",  "now,fail=99999999999999999999"}) {
    try {
      parseHalt(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::usage);
      EXPECT_NE(std::string(error.what()).find("'" + text + "'"), std::string::npos);
    }
  }
}

TEST(MapHalt, TellsNowFromSoon) {
  Halt now(parseHalt("now,fail=1"));
  EXPECT_EQ(now.jobEnded(exited(0)), Go::on);
  EXPECT_EQ(now.jobEnded(exited(3)), Go::now);
  Halt soon(parseHalt("soon,fail=1"));
  EXPECT_EQ(soon.jobEnded(exited(3)), Go::soon);
  EXPECT_EQ(soon.jobEnded(exited(4)), Go::soon);
  EXPECT_EQ(soon.exitCode(), 3) << "the one that made it halt";
  EXPECT_EQ(soon.failed(), 2u);
  Halt second(parseHalt("soon,fail=2"));
  for (int i = 0; i < 3; ++i) second.jobEnded(exited(3));
  EXPECT_EQ(second.exitCode(), 2) << "those that failed until it halted";
}

TEST(MapHalt, CountsSignalsAndTimeLimitsAsFailures) {
  Halt halt(parseHalt("now,fail=1"));
  EXPECT_EQ(halt.jobEnded({0, 9, false}), Go::now);
  EXPECT_EQ(halt.exitCode(), 137);
  Halt timed(parseHalt("now,fail=1"));
  EXPECT_EQ(timed.jobEnded({0, 15, true}), Go::now);
  EXPECT_EQ(timed.exitCode(), 124);
}

TEST(MapHalt, WaitsForTheTotalBeforeItTakesAPercentage) {
  Halt halt(parseHalt("now,fail=50%"));
  EXPECT_EQ(halt.jobEnded(exited(1)), Go::on);
  EXPECT_EQ(halt.jobEnded(exited(1)), Go::on);
  EXPECT_EQ(halt.setTotal(4), Go::now);
  EXPECT_EQ(halt.exitCode(), 50);
}

TEST(MapHalt, CountsFailuresUpToAHundred) {
  for (const int failures : {0, 1, 100, 101, 150}) {
    Halt halt(HaltPolicy{});
    for (int i = 0; i < failures; ++i) EXPECT_EQ(halt.jobEnded(exited(1)), Go::on);
    EXPECT_EQ(halt.exitCode(), std::min(failures, 101));
  }
}

TEST(MapHalt, EndsAsParallel) {
  SKIP_WITHOUT_PARALLEL();
  struct Case {
    std::string policy;
    std::vector<int> codes;
  };
  const std::vector<Case> cases{{"never", {0, 3, 0, 4}},
                                {"now,fail=1", {0, 7, 0}},
                                {"soon,fail=1", {0, 255, 0}},
                                {"now,fail=2", {1, 0, 7, 0}},
                                {"now,fail=5", {1, 0, 7, 0}},
                                {"now,success=1", {1, 4, 0, 0}},
                                {"now,success=3", {1, 0, 7}},
                                {"now,done=1", {7, 0}},
                                {"now,done=2", {0, 7, 0}},
                                {"now,done=9", {0, 7, 2}},
                                {"now,fail=50%", {0, 5, 0}},
                                {"now,fail=50%", {5, 0}},
                                {"now,fail=34%", {1, 5, 0}},
                                {"now,fail=24%", {0, 1, 1, 1}},
                                {"now,fail=25%", {0, 3, 1, 1}},
                                {"now,fail=101%", {1, 0, 0}},
                                {"now,success=26%", {1, 0, 1, 1}},
                                {"now,success=50%", {1, 0, 0, 1}},
                                {"now,done=50%", {0, 1, 1, 1}},
                                {"now,done=100%", {0, 1, 1, 0}},
                                {"1", {0, 9, 0}},
                                {"2", {0, 9, 0}},
                                {"-2", {3, 0, 1}},
                                {"50%", {0, 1, 1, 1}}};
  for (const Case& one : cases) {
    std::vector<std::string> words{"--halt", one.policy, "echo {#}; exit {}", ":::"};
    for (const int code : one.codes) words.push_back(std::to_string(code));
    const test::Outcome real = test::parallel(words);
    const Course ours = course(one.policy, one.codes);
    EXPECT_EQ(ours.exitCode, real.status) << one.policy << testing::PrintToString(one.codes);
    std::string ran;
    for (std::size_t i = 1; i <= ours.ended; ++i) ran += std::to_string(i) + "\n";
    EXPECT_EQ(ran, real.out) << one.policy << testing::PrintToString(one.codes);
  }
}

}  // namespace
}  // namespace baton::ctl::map
