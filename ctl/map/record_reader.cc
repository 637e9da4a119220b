#include "ctl/map/record_reader.h"

#include "ipc/error.h"

namespace baton::ctl::map {
namespace {

std::string withoutNul(const std::string& record) {
  std::string clean;
  for (const char c : record) {
    if (c == '\0') {
      clean += "\\0";
    } else {
      clean += c;
    }
  }
  return clean;
}

}  // namespace

void RecordReader::feed(std::string_view bytes) {
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  buffer_ += bytes;
}

std::optional<std::string> RecordReader::next() {
  const auto delimiter = buffer_.find(delimiter_, scanned_);
  if (delimiter != buffer_.npos) return take(delimiter - begin_, 1);
  scanned_ = buffer_.size();
  const std::size_t rest = buffer_.size() - begin_;
  if (rest > kMaxRecordBytes) throwTooLong();
  if (finished_ && rest > 0) return take(rest, 0);
  return std::nullopt;
}

std::string RecordReader::take(std::size_t length, std::size_t skip) {
  if (length > kMaxRecordBytes) throwTooLong();
  std::string record = buffer_.substr(begin_, length);
  begin_ += length + skip;
  scanned_ = begin_;
  ++returned_;
  if (delimiter_ != '\0' && record.find('\0') != record.npos) {
    replacedNul_ = true;
    record = withoutNul(record);
  }
  return record;
}

void RecordReader::throwTooLong() const {
  throw Error(Code::tooLarge,
              "input record " + std::to_string(returned_ + 1) + " is longer than " +
                  std::to_string(kMaxRecordBytes) + " bytes" +
                  (delimiter_ == '\0' ? "" : "; are its records separated by newlines, or by NUL (-0)?"));
}

}  // namespace baton::ctl::map
