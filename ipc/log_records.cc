#include "ipc/log_records.h"

namespace baton::ipc {
namespace {

void putLittle(std::uint8_t* to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint64_t getLittle(const char* from, int bytes) {
  std::uint64_t value = 0;
  for (int i = bytes; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(from[i]);
  return value;
}

}  // namespace

std::array<std::uint8_t, kLogHeaderBytes> encodeLogHeader(const LogHeader& header) {
  std::array<std::uint8_t, kLogHeaderBytes> bytes{};
  bytes[0] = header.stream;
  putLittle(bytes.data() + 4, header.length, 4);
  putLittle(bytes.data() + 8, header.timeNs, 8);
  return bytes;
}

void LogDecoder::feed(std::string_view bytes) {
  buffer_.erase(0, position_);
  position_ = 0;
  buffer_ += bytes;
}

LogDecoder::Result LogDecoder::next(LogRecord& record) {
  if (damaged_) return Result::damaged;
  const std::size_t begin = buffer_.find_first_not_of('\0', position_);
  const std::size_t start = begin == std::string::npos ? buffer_.size() : begin;
  holeBytes_ += start - position_;
  position_ = start;
  if (pending() < kLogHeaderBytes) return Result::more;
  const char* at = buffer_.data() + position_;
  const LogHeader header{.stream = static_cast<std::uint8_t>(at[0]),
                         .length = static_cast<std::uint32_t>(getLittle(at + 4, 4)),
                         .timeNs = getLittle(at + 8, 8)};
  if (header.length > kMaxLogRecordBytes) {
    damaged_ = true;
    return Result::damaged;
  }
  if (pending() < kLogHeaderBytes + header.length) return Result::more;
  record = {.header = header, .bytes = std::string_view(at + kLogHeaderBytes, header.length)};
  position_ += kLogHeaderBytes + header.length;
  return Result::record;
}

}  // namespace baton::ipc
