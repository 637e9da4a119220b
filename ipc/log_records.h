// The records of a task's log: written by the worker, read by `batonctl logs`. Pure; any thread.
//
// A record is 16 bytes of header and then its bytes; all numbers little-endian:
//   at 0: stream u8 (1 stdout, 2 stderr, never 0) | 1: reserved, 3 bytes of 0 | 4: length u32 | 8: time u64
// Zeros where a header should begin are a hole that was punched into the file to drop older records; a hole
// ends exactly where a record begins. A part may end in the middle of a record, when its writer was killed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace baton::ipc {

inline constexpr std::size_t kLogHeaderBytes = 16;
// A worker reads 64 KiB at a time; sixteen times that still tells a header from garbage.
inline constexpr std::uint32_t kMaxLogRecordBytes = 1U << 20;
// What a task's log may take in the segment that it shares with others; then it gets a file of its own.
inline constexpr std::uint64_t kLogFirstBytes = 1U << 20;

struct LogHeader {
  std::uint8_t stream = 0;
  std::uint32_t length = 0;  // at most kMaxLogRecordBytes
  std::uint64_t timeNs = 0;  // calendar time
};

// The bytes to be written in front of the record's own, best by one writev.
std::array<std::uint8_t, kLogHeaderBytes> encodeLogHeader(const LogHeader& header);

struct LogRecord {
  LogHeader header;
  std::string_view bytes;  // valid until the decoder is fed again or destroyed
};

// Takes the bytes of one part in pieces of any size and gives whole records.
class LogDecoder {
 public:
  enum class Result {
    record,
    more,     // feed on; at the end of the part: done
    damaged,  // what follows is no record; for good
  };

  // Keeps a copy of `bytes` until they are decoded. Call next() until `more` in between, or the copy grows.
  void feed(std::string_view bytes);
  [[nodiscard]] Result next(LogRecord& record);
  // Bytes of a record of which the rest has not come. At the end of a part not 0: its last record was cut
  // off.
  std::size_t pending() const { return buffer_.size() - position_; }
  // Zeros skipped so far.
  std::uint64_t holeBytes() const { return holeBytes_; }

 private:
  std::string buffer_;
  std::size_t position_ = 0;
  std::uint64_t holeBytes_ = 0;
  bool damaged_ = false;
};

}  // namespace baton::ipc
