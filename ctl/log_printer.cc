#include "ctl/log_printer.h"

#include "ctl/row_text.h"

namespace baton::ctl {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

}  // namespace

bool LogPrinter::wanted(std::uint8_t stream) const {
  switch (format_.streams) {
    case LogFormat::Streams::both:
      return stream == 1 || stream == 2;
    case LogFormat::Streams::onlyStdout:
      return stream == 1;
    case LogFormat::Streams::onlyStderr:
      return stream == 2;
  }
  return false;
}

void LogPrinter::add(const ipc::LogRecord& record) {
  if (!wanted(record.header.stream)) return;
  Stream& stream = streams_[record.header.stream];
  const int fd = format_.streams == LogFormat::Streams::both ? record.header.stream : 1;
  std::string_view rest = record.bytes;
  while (!rest.empty()) {
    if (stream.atLineStart) {
      stream.line = ++lines_;
      if (format_.timestamps && !format_.transform && stream.line > skipped_)
        put(fd, timestampText(record.header.timeNs) + " ");
    }
    const std::size_t newline = rest.find('\n');
    const std::string_view piece = rest.substr(0, newline == rest.npos ? newline : newline + 1);
    stream.atLineStart = newline != rest.npos;
    if (stream.line > skipped_) {
      format_.transform ? put(1, format_.transform(record.header, piece)) : put(fd, piece);
    }
    rest.remove_prefix(piece.size());
  }
}

void LogPrinter::put(int fd, std::string_view bytes) {
  if (fd != fd_) flush();
  fd_ = fd;
  buffer_ += bytes;
  if (buffer_.size() >= kBufferBytes) flush();
}

void LogPrinter::flush() {
  if (!buffer_.empty()) sink_(fd_, buffer_);
  buffer_.clear();
}

}  // namespace baton::ctl
