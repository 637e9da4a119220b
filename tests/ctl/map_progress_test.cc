#include "ctl/map/progress.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace baton::ctl::map {
namespace {

using std::chrono::seconds;

BarStyle plain(unsigned columns) {
  return {columns, false, false};
}

// Columns on a terminal: colours take none, a UTF-8 sequence takes one.
std::size_t width(const std::string& text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      i = text.find('m', i);
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++columns;
    }
  }
  return columns;
}

TEST(MapProgress, SaysHowFarItIs) {
  const Progress progress{50, 3, 2, 200, seconds(30)};
  EXPECT_EQ(
      renderBar(progress, plain(100)),
      "##########------------------------------  25% 50/200  3 failed  1:30 left  2 running  1.7/s  0:30");
}

TEST(MapProgress, CountsWhereTheEndIsUnknown) {
  const Progress progress{1200, 0, 2, std::nullopt, seconds(3661)};
  EXPECT_EQ(renderBar(progress, plain(80)), "1200 done  2 running  0.3/s  1:01:01");
}

TEST(MapProgress, IsFullAtTheEndOnly) {
  EXPECT_NE(renderBar({999, 0, 1, 1000, seconds(1)}, plain(80)).find(" 99% 999/1000"), std::string::npos);
  const std::string full = renderBar({1000, 0, 0, 1000, seconds(1)}, plain(80));
  EXPECT_NE(full.find("100% 1000/1000"), std::string::npos);
  EXPECT_EQ(full.find("# -"), std::string::npos);
  EXPECT_EQ(full.find("left"), std::string::npos);
  EXPECT_NE(renderBar({0, 0, 0, 0, seconds(0)}, plain(80)).find("100% 0/0"), std::string::npos);
}

TEST(MapProgress, NeverReachesTheLastColumn) {
  for (const bool color : {false, true}) {
    for (const bool utf8 : {false, true}) {
      for (unsigned columns = 0; columns < 200; ++columns) {
        for (const Progress& progress :
             {Progress{0, 0, 0, 0, {}}, Progress{123456, 789, 16, 9999999, seconds(100000)},
              Progress{5, 0, 2, std::nullopt, seconds(5)}, Progress{5, 5, 2, 5, seconds(5)}}) {
          const std::string text = renderBar(progress, {columns, color, utf8});
          ASSERT_LE(width(text), columns > 0 ? columns - 1 : 0) << columns << text;
        }
      }
    }
  }
}

TEST(MapProgress, HasNoControlCharacterWithoutColor) {
  const std::string text = renderBar({5, 5, 2, 50, seconds(5)}, plain(80));
  for (const char c : text) EXPECT_GE(c, ' ');
  EXPECT_NE(renderBar({5, 5, 2, 50, seconds(5)}, {80, true, false}).find("\x1b[31m5 failed\x1b[0m"),
            std::string::npos);
}

TEST(MapProgress, RespectsTheEnvironment) {
  for (const char* name : {"NO_COLOR", "LC_ALL", "LC_CTYPE"}) ::unsetenv(name);
  ::setenv("TERM", "xterm", 1);
  ::setenv("LANG", "de_DE.UTF-8", 1);
  EXPECT_TRUE(barStyle(80).color);
  EXPECT_TRUE(barStyle(80).utf8);
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(barStyle(80).color);
  ::setenv("LC_ALL", "C", 1);
  EXPECT_FALSE(barStyle(80).utf8);
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(barStyle(80).color);
}

TEST(MapProgress, DrawsOverItself) {
  const std::string drawn = drawBar({1, 0, 0, 2, seconds(1)}, plain(80));
  EXPECT_TRUE(drawn.starts_with('\r') && drawn.ends_with("\x1b[K"));
}

}  // namespace
}  // namespace baton::ctl::map
