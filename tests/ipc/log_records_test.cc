#include "ipc/log_records.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace baton::ipc {
namespace {

std::string recordOf(std::uint8_t stream, std::uint64_t timeNs, const std::string& bytes) {
  const auto header = encodeLogHeader(
      {.stream = stream, .length = static_cast<std::uint32_t>(bytes.size()), .timeNs = timeNs});
  return std::string(header.begin(), header.end()) + bytes;
}

struct Decoded {
  std::vector<std::string> texts;  // "STREAM TIME BYTES"
  bool damaged = false;
  std::size_t pending = 0;
  std::uint64_t holeBytes = 0;
};

Decoded decode(const std::string& file, std::size_t piece) {
  LogDecoder decoder;
  Decoded decoded;
  LogRecord record;
  for (std::size_t at = 0; at < file.size(); at += piece) {
    decoder.feed(std::string_view(file).substr(at, piece));
    LogDecoder::Result result{};
    while ((result = decoder.next(record)) == LogDecoder::Result::record) {
      decoded.texts.push_back(std::to_string(record.header.stream) + " " +
                              std::to_string(record.header.timeNs) + " " + std::string(record.bytes));
    }
    decoded.damaged = result == LogDecoder::Result::damaged;
  }
  decoded.pending = decoder.pending();
  decoded.holeBytes = decoder.holeBytes();
  return decoded;
}

TEST(LogRecords, bytesAreAsDocumented) {
  const auto header = encodeLogHeader({.stream = 2, .length = 0x01020304, .timeNs = 0x1112131415161718});
  const std::array<std::uint8_t, 16> expected{2,    0,    0,    0,    4,    3,    2,    1,
                                              0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11};
  EXPECT_EQ(header, expected);
}

TEST(LogRecords, areReadInPiecesOfAnySize) {
  const std::string binary("\0\x1b\xff\n", 4);
  const std::string file = recordOf(1, 5, "hello\n") + recordOf(2, 7, binary) + recordOf(1, UINT64_MAX, "") +
                           recordOf(1, 9, "end");
  for (const std::size_t piece : {1U, 2U, 3U, 15U, 16U, 17U, 1000U}) {
    const Decoded decoded = decode(file, piece);
    const std::vector<std::string> expected{"1 5 hello\n", "2 7 " + binary, "1 18446744073709551615 ",
                                            "1 9 end"};
    EXPECT_EQ(decoded.texts, expected) << piece;
    EXPECT_FALSE(decoded.damaged);
    EXPECT_EQ(decoded.pending, 0U);
    EXPECT_EQ(decoded.holeBytes, 0U);
  }
}

TEST(LogRecords, aFileCutOffAnywhereGivesAllWholeRecords) {
  const std::string first = recordOf(1, 5, "hello\n");
  const std::string file = first + recordOf(2, 7, "world\n");
  for (std::size_t length = 0; length < file.size(); ++length) {
    const Decoded decoded = decode(file.substr(0, length), 7);
    EXPECT_EQ(decoded.texts.size(), length < first.size() ? 0U : 1U) << length;
    EXPECT_EQ(decoded.pending, length < first.size() ? length : length - first.size());
    EXPECT_FALSE(decoded.damaged);
  }
}

TEST(LogRecords, holesAreSkipped) {
  const std::string hole(5'000, '\0');
  for (const std::size_t piece : {1U, 999U, 100'000U}) {
    const Decoded decoded = decode(hole + recordOf(1, 1, "a") + hole + recordOf(2, 2, "b") + hole, piece);
    EXPECT_EQ(decoded.texts, (std::vector<std::string>{"1 1 a", "2 2 b"}));
    EXPECT_EQ(decoded.holeBytes, 15'000U);
    EXPECT_EQ(decoded.pending, 0U);
  }
}

TEST(LogRecords, whatIsNoRecordIsToldForGood) {
  const std::string tooLong = [] {
    const auto header = encodeLogHeader({.stream = 1, .length = kMaxLogRecordBytes + 1, .timeNs = 0});
    return std::string(header.begin(), header.end());
  }();
  const Decoded decoded = decode(recordOf(1, 1, "a") + tooLong + recordOf(1, 2, "b"), 100);
  EXPECT_EQ(decoded.texts, std::vector<std::string>{"1 1 a"});
  EXPECT_TRUE(decoded.damaged);
  EXPECT_EQ(decode(recordOf(1, 1, std::string(kMaxLogRecordBytes, 'x')), 4096).texts.size(), 1U);
}

TEST(LogRecords, garbageNeverReachesBeyondWhatWasFed) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 2'000; ++i) {
    std::string garbage(random() % 300, '\0');
    for (char& c : garbage) c = random() % 3 == 0 ? '\0' : static_cast<char>(random());
    const Decoded decoded = decode(garbage, 1 + random() % 50);
    std::size_t bytes = 0;
    for (const std::string& text : decoded.texts) bytes += text.size();
    EXPECT_LE(bytes, garbage.size() + 30 * decoded.texts.size());
  }
}

}  // namespace
}  // namespace baton::ipc
