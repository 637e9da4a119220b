// Bytes in, records out: the lines (or NUL-separated records) of `map`'s input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::ctl::map {

// Longest record. A job's command line is limited by the kernel to 2 MiB in all and 128 KiB a word.
inline constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 20;

// Holds at most one record and what was fed since next() last said no. One thread.
class RecordReader {
 public:
  explicit RecordReader(char delimiter) : delimiter_(delimiter) {}

  // Feed only after next() said no, in pieces of reasonable size: what is fed is kept.
  void feed(std::string_view bytes);
  // No more bytes will come: a last record without delimiter is one.
  void finish() { finished_ = true; }
  // The next complete record; empty ones count; bytes are untouched, but that a NUL in a line becomes \0.
  // Throws Error(tooLarge) for a record beyond the limit.
  std::optional<std::string> next();

  // A NUL was replaced by the two characters \0, since no argument can hold it. Worth one warning that names
  // -0.
  bool replacedNul() const { return replacedNul_; }

 private:
  [[noreturn]] void throwTooLong() const;
  std::string take(std::size_t length, std::size_t skip);

  char delimiter_;
  bool finished_ = false;
  bool replacedNul_ = false;
  std::string buffer_;
  std::size_t begin_ = 0;    // of the first record not yet returned
  std::size_t scanned_ = 0;  // no delimiter between begin_ and here
  std::uint64_t returned_ = 0;
};

}  // namespace baton::ctl::map
