#include "ctl/table.h"

#include <gtest/gtest.h>

#include "ctl/output.h"

namespace baton::ctl {
namespace {

TEST(Table, AlignsColumnsAndEndsLinesWithoutBlanks) {
  Table table({{"ID", Table::Align::right}, {"STATE"}, {"COMMAND"}}, std::nullopt);
  table.add({"1", "running", "make"});
  table.add({"1234", "ok", ""});
  EXPECT_EQ(table.take(),
            "  ID  STATE    COMMAND\n"
            "   1  running  make\n"
            "1234  ok\n");
}

TEST(Table, TakesTitlesOnceAndKeepsWidths) {
  Table table({{"A"}, {"B"}}, std::nullopt);
  table.add({"12345", "x"});
  EXPECT_EQ(table.take(), "A      B\n12345  x\n");
  table.add({"1", "y"});
  EXPECT_EQ(table.take(), "1      y\n");
  EXPECT_EQ(table.take(), "");
}

TEST(Table, CutsTheLastColumnAtTheTerminalsWidth) {
  Table table({{"ID"}, {"COMMAND"}}, 20);
  table.add({"1", "0123456789abcdef"});
  table.add({"2", "0123456789abcdefg"});
  const std::string text = table.take();
  EXPECT_NE(text.find("1   0123456789abcdef\n"), std::string::npos) << text;
  EXPECT_NE(text.find("2   0123456789abc...\n"), std::string::npos) << text;
}

TEST(Table, ShowsTheBeginningEvenOnANarrowTerminal) {
  Table table({{"ID"}, {"COMMAND"}}, 3);
  table.add({"1", "0123456789abcdef"});
  EXPECT_NE(table.take().find("0123456..."), std::string::npos);
}

TEST(Fields, StandInOneColumnWithoutEmptyOnes) {
  Fields fields;
  fields.add("id", "12");
  fields.add("nothing", "");
  fields.add("command", "make");
  EXPECT_EQ(fields.text(), "id:      12\ncommand: make\n");
}

TEST(Width, CountsColumnsNotBytes) {
  EXPECT_EQ(displayWidth("abc"), 3U);
  EXPECT_EQ(displayWidth("gr\u00fc\u00df"), 4U);
  EXPECT_EQ(displayWidth("\u65e5\u672c"), 4U);
  EXPECT_EQ(displayWidth("e\u0301"), 1U);
  EXPECT_EQ(displayWidth("\U0001f600"), 2U);
}

TEST(Fitted, NeverCutsACharacterInTwo) {
  EXPECT_EQ(fitted("\u65e5\u672c\u8a9e\u65e5\u672c", 10), "\u65e5\u672c\u8a9e\u65e5\u672c");
  EXPECT_EQ(fitted("\u65e5\u672c\u8a9e\u65e5\u672c", 9), "\u65e5\u672c\u8a9e...");
  EXPECT_EQ(fitted("\u65e5\u672c\u8a9e\u65e5\u672c", 8), "\u65e5\u672c...");
  EXPECT_EQ(fitted("abcdef", 3), "...");
  EXPECT_EQ(fitted("abcdef", 0), "");
}

}  // namespace
}  // namespace baton::ctl
