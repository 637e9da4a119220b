#include "ipc/units.h"

#include <gtest/gtest.h>

#include <random>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

using namespace std::chrono_literals;

TEST(Duration, readsWhatPeopleWrite) {
  EXPECT_EQ(parseDuration("90"), 90s);
  EXPECT_EQ(parseDuration("0"), 0s);
  EXPECT_EQ(parseDuration("90s"), 90s);
  EXPECT_EQ(parseDuration("5m"), 5min);
  EXPECT_EQ(parseDuration("1h30m"), 90min);
  EXPECT_EQ(parseDuration("500ms"), 500ms);
  EXPECT_EQ(parseDuration("7d"), 168h);
  EXPECT_EQ(parseDuration("2w"), 336h);
  EXPECT_EQ(parseDuration("1d2h3m4s5ms6us7ns"), 26h + 3min + 4s + 5ms + 6us + 7ns);
  EXPECT_EQ(parseDuration("0.5"), 500ms);
  EXPECT_EQ(parseDuration("1.25h"), 75min);
  EXPECT_EQ(parseDuration("1m1.5s"), 61500ms);
  EXPECT_EQ(parseDuration("0.0000000019"), 1ns);
  EXPECT_EQ(parseDuration("0.1234567890123456789012345s"), 123456789ns);
  EXPECT_EQ(parseDuration("9223372036854775807ns"), std::chrono::nanoseconds::max());
}

TEST(Duration, refusesEverythingElse) {
  for (const char* text : {"",
                           " ",
                           "s",
                           "-1",
                           "+1",
                           "1 s",
                           " 1",
                           "1 ",
                           "1x",
                           "1S",
                           "1H",
                           "1sec",
                           "1h30",
                           "30m1h",
                           "1s1s",
                           "1m1m",
                           "1.5h30m",
                           ".5",
                           "1.",
                           "1.s",
                           "1..5",
                           "1e3",
                           "0x10",
                           "inf",
                           "nan",
                           "1,5",
                           "99999999999999999999",
                           "9223372036854775808ns",
                           "9223372037",
                           "300000h9999999999s",
                           "1h-5m",
                           "5mm",
                           "1µs"}) {
    EXPECT_FALSE(parseDuration(text)) << text;
  }
  EXPECT_FALSE(parseDuration(std::string_view("1s\0", 3)));
  EXPECT_FALSE(parseDuration(std::string(100000, '9')));
}

TEST(Size, readsWhatPeopleWrite) {
  EXPECT_EQ(parseSize("0"), 0U);
  EXPECT_EQ(parseSize("123"), 123U);
  EXPECT_EQ(parseSize("512K"), 512U << 10);
  EXPECT_EQ(parseSize("512k"), 512U << 10);
  EXPECT_EQ(parseSize("64M"), 64U << 20);
  EXPECT_EQ(parseSize("2G"), 2ULL << 30);
  EXPECT_EQ(parseSize("2GiB"), 2ULL << 30);
  EXPECT_EQ(parseSize("1.5G"), 3ULL << 29);
  EXPECT_EQ(parseSize("3T"), 3ULL << 40);
  EXPECT_EQ(parseSize("1P"), 1ULL << 50);
  EXPECT_EQ(parseSize("9223372036854775807"), static_cast<std::uint64_t>(INT64_MAX));
}

TEST(Size, refusesEverythingElse) {
  for (const char* text : {"",    "K",  "-1",  "+1", "1 K", "1GB",  "1B",   "1iB",   "1KK",
                           "1g",  "1m", "1.5", "1.", ".5G", "1G1M", "0x10", "8192P", "9223372036854775808",
                           "1e9", "G2"}) {
    EXPECT_FALSE(parseSize(text)) << text;
  }
}

TEST(Units, errorsSayWhatWasExpected) {
  EXPECT_EQ(durationOf("--timeout", "5m"), 5min);
  EXPECT_EQ(sizeOf("--memory", "5M"), 5U << 20);
  try {
    durationOf("--timeout", "5 \x1b[2J");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::usage);
    EXPECT_STREQ(error.what(),
                 "--timeout: '5 \\x1b[2J' is not a duration such as 90 (seconds), 500ms, 5m, 1h30m or 7d");
  }
  try {
    sizeOf("--memory", "5GB");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "--memory: '5GB' is not a size such as 512K, 64M or 2G");
  }
}

TEST(Duration, isShownShort) {
  const std::pair<std::chrono::nanoseconds, const char*> cases[] = {{0s, "0 s"},
                                                                    {7ns, "7 ns"},
                                                                    {999ns, "999 ns"},
                                                                    {1000ns, "1 us"},
                                                                    {1500ns, "1.5 us"},
                                                                    {12345ns, "12 us"},
                                                                    {999999ns, "1 ms"},
                                                                    {1230us, "1.2 ms"},
                                                                    {250ms, "250 ms"},
                                                                    {999400us, "999 ms"},
                                                                    {999600us, "1 s"},
                                                                    {1234ms, "1.2 s"},
                                                                    {9949ms, "9.9 s"},
                                                                    {9950ms, "10 s"},
                                                                    {9990ms, "10 s"},
                                                                    {59400ms, "59 s"},
                                                                    {59600ms, "1 min"},
                                                                    {60s, "1 min"},
                                                                    {200s, "3 min 20 s"},
                                                                    {180s, "3 min"},
                                                                    {599600ms, "10 min"},
                                                                    {42min + 31s, "43 min"},
                                                                    {59min + 29s, "59 min"},
                                                                    {59min + 31s, "1 h"},
                                                                    {90min, "1 h 30 min"},
                                                                    {23h + 59min + 31s, "1 d"},
                                                                    {25h, "1 d 1 h"},
                                                                    {168h, "7 d"},
                                                                    {240h + 11h, "10 d"},
                                                                    {240h + 13h, "11 d"},
                                                                    {-1500ms, "-1.5 s"}};
  for (const auto& [duration, text] : cases) EXPECT_EQ(formatDuration(duration), text) << duration.count();
  EXPECT_EQ(formatDuration(std::chrono::nanoseconds::max()), "106752 d");
  EXPECT_EQ(formatDuration(std::chrono::nanoseconds::min()), "-106752 d");
}

TEST(Size, isShownShort) {
  const std::pair<std::uint64_t, const char*> cases[] = {{0, "0 B"},
                                                         {1023, "1023 B"},
                                                         {1024, "1 KiB"},
                                                         {1536, "1.5 KiB"},
                                                         {10240, "10 KiB"},
                                                         {64U << 20, "64 MiB"},
                                                         {(1U << 20) - 1, "1 MiB"},
                                                         {3ULL << 29, "1.5 GiB"},
                                                         {UINT64_MAX, "16 EiB"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(formatSize(bytes), text) << bytes;
}

TEST(Units, whatIsSpelledIsReadBackExactly) {
  EXPECT_EQ(spellDuration(90min), "1h30m");
  EXPECT_EQ(spellDuration(168h), "7d");
  EXPECT_EQ(spellDuration(0s), "0");
  EXPECT_EQ(spellSize(64U << 20), "64M");
  EXPECT_EQ(spellSize(1ULL << 30), "1G");
  EXPECT_EQ(spellSize(1000), "1000");
  EXPECT_EQ(spellSize(0), "0");
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t value = random() >> (1 + random() % 63);
    EXPECT_EQ(parseSize(spellSize(value)), value);
    const std::chrono::nanoseconds duration(static_cast<std::int64_t>(value));
    EXPECT_EQ(parseDuration(spellDuration(duration)), duration) << spellDuration(duration);
  }
}

}  // namespace
}  // namespace baton::ipc
