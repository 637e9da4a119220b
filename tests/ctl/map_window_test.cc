#include "ctl/map_window.h"

#include <gtest/gtest.h>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

using namespace std::chrono_literals;

std::uint32_t jobs(std::string_view text, std::uint32_t slots) {
  return JobCount::parse(text).resolve(slots);
}

MapWindow windowOf(std::string_view text, const Capacity& capacity, bool exact = false) {
  return {JobCount::parse(text), capacity, exact};
}

TEST(JobCount, IsSpelledAsParallelDoes) {
  EXPECT_EQ(jobs("3", 8), 3U);
  EXPECT_EQ(jobs("+2", 8), 10U);
  EXPECT_EQ(jobs("-2", 8), 6U);
  EXPECT_EQ(jobs("-8", 8), 1U);
  EXPECT_EQ(jobs("50%", 8), 4U);
  EXPECT_EQ(jobs("1%", 8), 1U);
  EXPECT_EQ(jobs("0", 8), 0U);
}

TEST(JobCount, RejectsWhatIsNone) {
  for (const char* text : {"", "x", "-", "1.5", "3 ", "%", "+%", "--2", "99999999"}) {
    EXPECT_THROW(JobCount::parse(text), Error) << text;
  }
}

TEST(MapWindow, BelowTheSlotsGivesExactlyAsManyAsAskedFor) {
  auto window = windowOf("2", {.slots = 4});
  for (int i = 0; i < 100; ++i) window.ended(1ms);
  EXPECT_EQ(window.size(), 2U);
  EXPECT_TRUE(window.wantsMore(1));
  EXPECT_FALSE(window.wantsMore(2));
  EXPECT_EQ(window.notice(), "");
}

TEST(MapWindow, NeverRunsMoreCpuJobsThanSlotsAndSaysSo) {
  const auto window = windowOf("16", {.slots = 4});
  EXPECT_EQ(window.jobs(), 4U);
  EXPECT_NE(window.notice().find("--io"), std::string::npos);
  EXPECT_EQ(windowOf("0", {.slots = 4}).notice(), "");
}

TEST(MapWindow, CountsTheSlotsOfEachJob) {
  EXPECT_EQ(windowOf("100%", {.slots = 8, .slotsEach = 3}).jobs(), 2U);
}

TEST(MapWindow, GivesIoJobsExactly) {
  EXPECT_EQ(windowOf("32", {.slots = 2, .io = true, .ioTasks = 256}).size(), 32U);
  const auto many = windowOf("1000", {.slots = 2, .io = true, .ioTasks = 256});
  EXPECT_EQ(many.size(), 256U);
  EXPECT_NE(many.notice(), "");
}

TEST(MapWindow, KeepsShortJobsAheadAndFewLongOnes) {
  auto window = windowOf("100%", {.slots = 2});
  EXPECT_EQ(window.size(), 4U);
  for (int i = 0; i < 100; ++i) window.ended(1ms);
  EXPECT_EQ(window.size(), 64U);
  for (int i = 0; i < 100; ++i) window.ended(1s);
  EXPECT_EQ(window.size(), 4U);
}

TEST(MapWindow, RefillsForSeveralShortJobsAtOnce) {
  auto window = windowOf("100%", {.slots = 2});
  for (int i = 0; i < 100; ++i) window.ended(1ms);
  EXPECT_FALSE(window.wantsMore(window.size() - 1));
  EXPECT_TRUE(window.wantsMore(window.size() / 2));
}

TEST(MapWindow, IsExactWhereTheSlotNumberMustBeKnown) {
  EXPECT_EQ(windowOf("100%", {.slots = 2}, true).size(), 2U);
}

}  // namespace
}  // namespace baton::ctl
