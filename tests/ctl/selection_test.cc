#include "ctl/selection.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

std::uint64_t noNewest() {
  throw std::logic_error("nobody asked for the newest");
}

std::vector<TaskRef> parse(std::vector<std::string> words) {
  return parseRefs(words, noNewest);
}

std::string rejection(const std::string& word) {
  try {
    parse({word});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::usage);
    return error.what();
  }
  return "";
}

TEST(Selection, TakesTasksOfTheirOwnAndOfBatches) {
  EXPECT_EQ(parse({"12", "12.3"}), (std::vector<TaskRef>{{12, 0}, {12, 3}}));
}

TEST(Selection, TakesRangesAndLists) {
  EXPECT_EQ(parse({"5-7", "1,9-10"}),
            (std::vector<TaskRef>{{5, 0}, {6, 0}, {7, 0}, {1, 0}, {9, 0}, {10, 0}}));
  EXPECT_EQ(parse({"12.3-5"}), (std::vector<TaskRef>{{12, 3}, {12, 4}, {12, 5}}));
  EXPECT_EQ(parse({"7-7"}), (std::vector<TaskRef>{{7, 0}}));
}

TEST(Selection, NamesEachOnceInTheOrderWritten) {
  EXPECT_EQ(parse({"3,1", "2-3", "1"}), (std::vector<TaskRef>{{3, 0}, {1, 0}, {2, 0}}));
}

TEST(Selection, AsksForTheNewestOnce) {
  int asked = 0;
  const auto newest = [&asked] {
    ++asked;
    return std::uint64_t{40};
  };
  const std::vector<std::string> words{"last", "last.2", "last"};
  EXPECT_EQ(parseRefs(words, newest), (std::vector<TaskRef>{{40, 0}, {40, 2}}));
  EXPECT_EQ(asked, 1);
}

TEST(Selection, RejectsWhatIsNoId) {
  for (const char* word : {"",
                           "0",
                           "-1",
                           "+1",
                           "1.0",
                           "1.",
                           ".1",
                           "1..2",
                           "9-5",
                           "a",
                           "1a",
                           " 1",
                           "1,",
                           "1-",
                           "0x10",
                           "9007199254740992",
                           "99999999999999999999",
                           "1.4294967296",
                           "12.5-3",
                           "LAST"}) {
    EXPECT_NE(rejection(word), "") << word;
  }
  EXPECT_NE(rejection("12x").find("`12x`"), std::string::npos);
}

TEST(Selection, RejectsMoreThanARequestTakes) {
  EXPECT_EQ(parse({"1-10000"}).size(), 10'000U);
  EXPECT_NE(rejection("1-10001").find("10000"), std::string::npos);
  EXPECT_NE(rejection("1-9007199254740991"), "");
}

TEST(Selection, IsWrittenAsItIsRead) {
  EXPECT_EQ(toString({12, 0}), "12");
  EXPECT_EQ(toString({12, 3}), "12.3");
}

}  // namespace
}  // namespace baton::ctl
