// What `logs` prints of the records it reads: which streams, with times or without, from which line on. Pure
// but for the sink.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "ipc/log_records.h"

namespace baton::ctl {

struct LogFormat {
  enum class Streams { both, onlyStdout, onlyStderr };
  Streams streams = Streams::both;
  bool timestamps = false;  // in front of each line
  // Makes of each piece (a line, or as much of one as was read at once) what is printed instead, on stdout.
  std::function<std::string(const ipc::LogHeader& header, std::string_view piece)> transform = {};
};

class LogPrinter {
 public:
  // `fd` is 1 or 2: both streams go to their own, a single one to stdout.
  using Sink = std::function<void(int fd, std::string_view bytes)>;

  LogPrinter(const LogFormat& format, Sink sink) : format_(format), sink_(std::move(sink)) {}

  // The first `lines` lines are counted but not printed. Set before the first record.
  void skip(std::uint64_t lines) { skipped_ = lines; }
  void add(const ipc::LogRecord& record);
  // What is held back, to keep the number of writes low.
  void flush();
  // Lines begun so far, in both streams together.
  std::uint64_t lines() const { return lines_; }

 private:
  struct Stream {
    bool atLineStart = true;
    std::uint64_t line = 0;  // the one it is in, counted from 1
  };
  bool wanted(std::uint8_t stream) const;
  void put(int fd, std::string_view bytes);

  LogFormat format_;
  Sink sink_;
  std::uint64_t skipped_ = 0;
  std::uint64_t lines_ = 0;
  std::array<Stream, 3> streams_;  // by number: 1 stdout, 2 stderr
  int fd_ = 1;
  std::string buffer_;
};

}  // namespace baton::ctl
