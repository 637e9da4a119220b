// The reader of task logs: the same records however the bytes come, none larger than promised, and every byte
// accounted for.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "ipc/log_records.h"
#include "tests/fuzz/target.h"

namespace {

using namespace baton::ipc;

struct Decoded {
  std::vector<std::string> records;
  std::size_t bytes = 0;
  bool damaged = false;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view text, std::size_t piece) {
  Decoded decoded;
  LogDecoder decoder;
  LogRecord record;
  for (std::size_t at = 0; at < text.size() && !decoded.damaged; at += piece) {
    decoder.feed(text.substr(at, piece));
    LogDecoder::Result result{};
    while ((result = decoder.next(record)) == LogDecoder::Result::record) {
      if (record.bytes.size() != record.header.length || record.header.length > kMaxLogRecordBytes)
        std::abort();
      if (record.header.stream == 0) std::abort();
      decoded.records.push_back(std::to_string(record.header.stream) + " " +
                                std::to_string(record.header.timeNs) + " " + std::string(record.bytes));
      decoded.bytes += kLogHeaderBytes + record.bytes.size();
    }
    decoded.damaged = result == LogDecoder::Result::damaged;
  }
  if (!decoded.damaged && decoded.bytes + decoder.holeBytes() + decoder.pending() != text.size())
    std::abort();
  return decoded;
}

}  // namespace

// The first byte says the size of the pieces.
void fuzzOne(std::span<const std::uint8_t> input) {
  if (input.empty()) return;
  const std::string_view text(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  const Decoded whole = decode(text, std::max<std::size_t>(1, text.size()));
  const Decoded pieces = decode(text, 1U + input[0]);
  if (!(whole == pieces)) std::abort();
}
