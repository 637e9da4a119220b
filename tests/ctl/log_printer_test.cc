#include "ctl/log_printer.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace baton::ctl {
namespace {

constexpr std::uint8_t kOut = 1;
constexpr std::uint8_t kErr = 2;
constexpr std::uint64_t kTime = 1'769'860'800'123'456'789;  // 2026-01-31T12:00:00.123456789Z

class Logs : public ::testing::Test {
 protected:
  void show(LogFormat format, std::vector<std::pair<std::uint8_t, std::string_view>> records,
            std::uint64_t skip = 0) {
    LogPrinter printer(format, [this](int fd, std::string_view bytes) {
      (fd == 1 ? out_ : err_) += bytes;
      order_ += fd == 1 ? 'o' : 'e';
    });
    printer.skip(skip);
    for (const auto& [stream, bytes] : records) {
      printer.add({{stream, static_cast<std::uint32_t>(bytes.size()), kTime}, bytes});
    }
    printer.flush();
    lines_ = printer.lines();
  }
  std::string out_;
  std::string err_;
  std::string order_;
  std::uint64_t lines_ = 0;
};

TEST_F(Logs, OfBothStreamsGoToTheirOwnInTheOrderRead) {
  show({}, {{kOut, "a\n"}, {kOut, "b"}, {kErr, "x\n"}, {kOut, "c\n"}});
  EXPECT_EQ(out_, "a\nbc\n");
  EXPECT_EQ(err_, "x\n");
  EXPECT_EQ(order_, "oeo");
}

TEST_F(Logs, OfOneStreamGoToStdout) {
  show({.streams = LogFormat::Streams::onlyStderr}, {{kOut, "a\n"}, {kErr, "x\n"}});
  EXPECT_EQ(out_, "x\n");
  EXPECT_EQ(err_, "");
  out_.clear();
  show({.streams = LogFormat::Streams::onlyStdout}, {{kOut, "a\n"}, {kErr, "x\n"}});
  EXPECT_EQ(out_, "a\n");
}

TEST_F(Logs, KeepEveryByte) {
  const std::string bytes("\0\x1b[1m\xff no newline", 17);
  show({}, {{kOut, bytes}});
  EXPECT_EQ(out_, bytes);
}

TEST_F(Logs, CanBeMadeOfPiecesOfLines) {
  const auto transform = [](const ipc::LogHeader& header, std::string_view piece) {
    return std::to_string(header.stream) + "<" + std::string(piece) + ">";
  };
  show({.timestamps = true, .transform = transform}, {{kOut, "par"}, {kErr, "x"}, {kOut, "tial\nb\n"}}, 1);
  EXPECT_EQ(out_, "2<x>1<b\n>") << "all to stdout, without the first line";
  EXPECT_EQ(err_, "");
}

TEST_F(Logs, HaveTheTimeOnceALine) {
  show({.timestamps = true}, {{kOut, "par"}, {kErr, "x"}, {kOut, "tial\nb\n"}});
  EXPECT_EQ(out_, "2026-01-31T12:00:00.123456Z partial\n2026-01-31T12:00:00.123456Z b\n");
  EXPECT_EQ(err_, "2026-01-31T12:00:00.123456Z x");
}

TEST_F(Logs, AreCountedByLinesOfTheStreamsShown) {
  show({}, {{kOut, "a\nb"}, {kErr, "x\ny"}, {kOut, "b\nc"}});
  EXPECT_EQ(lines_, 5U);  // a, bb, x, y, c
  show({.streams = LogFormat::Streams::onlyStderr}, {{kOut, "a\nb"}, {kErr, "x\ny"}});
  EXPECT_EQ(lines_, 2U);
}

TEST_F(Logs, SkipWholeLinesOnly) {
  // The skipped lines are a and b, which goes on behind x.
  show({}, {{kOut, "a\nb"}, {kErr, "x\n"}, {kOut, "b\nc"}}, 2);
  EXPECT_EQ(out_, "c");
  EXPECT_EQ(err_, "x\n");
}

TEST_F(Logs, OfUnknownStreamsAreLeftOut) {
  show({}, {{3, "z"}, {0, "z"}, {kOut, "a"}});
  EXPECT_EQ(out_, "a");
  EXPECT_EQ(err_, "");
}

}  // namespace
}  // namespace baton::ctl
