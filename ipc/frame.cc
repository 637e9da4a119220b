#include "ipc/frame.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr std::size_t tableBytes(std::size_t segments) {
  return (segments / 2 + 1) * sizeof(capnp::word);
}
constexpr std::size_t kTableBytes = tableBytes(kMaxSegments);
// A larger buffer is given back once the frame that needed it is taken out.
constexpr std::size_t kKeptBytes = 2 * kUnchargedBytes;

capnp::ReaderOptions readerOptions(std::size_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 8 * words + 1024;
  options.nestingLimit = kMaxNesting;
  return options;
}

}  // namespace

void Message::attach(shm::Fd fd) {
  fds_.push_back(std::move(fd));
  frame_.setFdCount(static_cast<std::uint8_t>(fds_.size()));
}

std::size_t Message::finish() {
  // Pointers between segments take a word more each: very many small arguments would not fit for them alone.
  if (builder_->sizeInWords() * sizeof(capnp::word) > kMaxFrameBytes - kTableBytes) {
    const auto frame = frame_.asReader();
    auto flat =
        std::make_unique<capnp::MallocMessageBuilder>(static_cast<unsigned>(frame.totalSize().wordCount + 1));
    flat->setRoot(frame);
    builder_ = std::move(flat);
    frame_ = builder_->getRoot<wire::Frame>();
  }
  const auto segments = builder_->getSegmentsForOutput();
  std::size_t bytes = tableBytes(segments.size());
  for (const auto segment : segments) bytes += segment.size() * sizeof(capnp::word);
  return bytes;
}

void Message::write(std::byte* to) const {
  const auto segments = builder_->getSegmentsForOutput();
  const auto put = [&](const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
    to += bytes;
  };
  const auto putWord = [&](std::size_t word) {
    const auto narrow = static_cast<std::uint32_t>(word);
    put(&narrow, sizeof narrow);
  };
  putWord(segments.size() - 1);
  for (const auto segment : segments) putWord(segment.size());
  if (segments.size() % 2 == 0) putWord(0);
  for (const auto segment : segments) put(segment.begin(), segment.size() * sizeof(capnp::word));
}

void Message::appendTo(std::vector<std::byte>& out) {
  const std::size_t before = out.size();
  out.resize(before + finish());
  write(out.data() + before);
}

ReceivedFrame::ReceivedFrame(kj::Array<capnp::word> words,
                             std::vector<kj::ArrayPtr<const capnp::word>> segments)
    : words_(kj::mv(words)), segments_(std::move(segments)) {
  reader_ = std::make_unique<capnp::SegmentArrayMessageReader>(
      kj::arrayPtr(segments_.data(), segments_.size()), readerOptions(words_.size()));
  frame_ = reader_->getRoot<wire::Frame>();
}

ReceivedFrame frameOf(kj::Array<capnp::word> words) {
  const auto word32 = [&](std::size_t index) {
    std::uint32_t value = 0;
    std::memcpy(&value, words.asBytes().begin() + index * sizeof(value), sizeof(value));
    return value;
  };
  const std::size_t count = words.size() > 0 ? std::size_t{word32(0)} + 1 : 0;
  std::size_t offset = tableBytes(count) / sizeof(capnp::word);
  if (count == 0 || count > kMaxSegments || offset > words.size()) {
    throw Error(Code::protocol, "a frame without its table of segments");
  }
  std::vector<kj::ArrayPtr<const capnp::word>> segments;
  segments.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t size = word32(i + 1);
    if (size > words.size() - offset) throw Error(Code::protocol, "a segment beyond its frame");
    segments.push_back(words.slice(offset, offset + size));
    offset += size;
  }
  if (offset != words.size()) throw Error(Code::protocol, "a frame that is longer than its segments");
  return {kj::mv(words), std::move(segments)};
}

bool FrameReader::admit() {
  const auto total = frameBytes();
  return !total || *total <= kUnchargedBytes || charge_.tryRaise(*total);
}

std::span<std::byte> FrameReader::room(std::size_t wanted) {
  // A large frame doubles what is held each time.
  const std::size_t held = end_ - begin_;
  if (charge_.bytes() > held) wanted = std::max(wanted, std::min(charge_.bytes() - held, held));
  if (begin_ > 0 && (begin_ == end_ || buffer_.size() - end_ < wanted)) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < wanted) {
    buffer_.resize(end_ + wanted);
  }
  return {buffer_.data() + end_, wanted};
}

std::uint32_t FrameReader::word32(std::size_t index) const {
  std::uint32_t value = 0;
  std::memcpy(&value, buffer_.data() + begin_ + index * sizeof(value), sizeof(value));
  return value;
}

std::optional<std::size_t> FrameReader::headerBytes() const {
  if (end_ - begin_ < 4) {
    return std::nullopt;
  }
  const std::uint32_t last = word32(0);
  if (last >= kMaxSegments) {
    throw Error(Code::protocol, "a frame of more than " + std::to_string(kMaxSegments) + " segments");
  }
  const std::size_t bytes = tableBytes(std::size_t{last} + 1);
  if (end_ - begin_ < bytes) {
    return std::nullopt;
  }
  return bytes;
}

std::optional<std::size_t> FrameReader::frameBytes() const {
  const auto header = headerBytes();
  if (!header) {
    return std::nullopt;
  }
  std::size_t total = *header;
  for (std::size_t i = 0; i <= word32(0); ++i) {
    total += std::size_t{word32(i + 1)} * sizeof(capnp::word);
  }
  if (total > maxFrameBytes_) {
    throw Error(Code::tooLarge, "a frame of " + std::to_string(total) + " bytes; at most " +
                                    std::to_string(maxFrameBytes_) + " are taken");
  }
  return total;
}

std::optional<ReceivedFrame> FrameReader::next() {
  const auto total = frameBytes();
  if (!total || end_ - begin_ < *total) {
    return std::nullopt;
  }
  auto words = kj::heapArray<capnp::word>(*total / sizeof(capnp::word));
  std::memcpy(words.begin(), buffer_.data() + begin_, *total);
  begin_ += *total;
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() > kKeptBytes) {
    const auto* held = buffer_.data();
    std::vector<std::byte>(held + begin_, held + end_).swap(buffer_);
    end_ -= begin_;
    begin_ = 0;
  }
  Charge charge = charge_.take();
  auto frame = frameOf(kj::mv(words));
  frame.charge = std::move(charge);
  return frame;
}

}  // namespace baton::ipc
