#include "ipc/frame.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr std::size_t kTableBytes = (kMaxSegments / 2 + 1) * sizeof(capnp::word);
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

void Message::appendTo(std::vector<std::byte>& out) {
  // Pointers between segments take a word more each: very many small arguments would not fit for them alone.
  if (builder_->sizeInWords() * sizeof(capnp::word) > kMaxFrameBytes - kTableBytes) {
    const auto frame = frame_.asReader();
    auto flat =
        std::make_unique<capnp::MallocMessageBuilder>(static_cast<unsigned>(frame.totalSize().wordCount + 1));
    flat->setRoot(frame);
    builder_ = std::move(flat);
    frame_ = builder_->getRoot<wire::Frame>();
  }
  auto segments = builder_->getSegmentsForOutput();
  const std::size_t tableWords = segments.size() / 2 + 1;
  std::vector<std::uint32_t> table(tableWords * 2, 0);
  table[0] = static_cast<std::uint32_t>(segments.size() - 1);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    table[i + 1] = static_cast<std::uint32_t>(segments[i].size());
  }
  const auto* tableBytes = reinterpret_cast<const std::byte*>(table.data());
  out.insert(out.end(), tableBytes, tableBytes + table.size() * sizeof(std::uint32_t));
  for (auto segment : segments) {
    const auto* bytes = reinterpret_cast<const std::byte*>(segment.begin());
    out.insert(out.end(), bytes, bytes + segment.size() * sizeof(capnp::word));
  }
}

ReceivedFrame::ReceivedFrame(kj::Array<capnp::word> words,
                             std::vector<kj::ArrayPtr<const capnp::word>> segments)
    : words_(kj::mv(words)), segments_(std::move(segments)) {
  reader_ = std::make_unique<capnp::SegmentArrayMessageReader>(
      kj::arrayPtr(segments_.data(), segments_.size()), readerOptions(words_.size()));
  frame_ = reader_->getRoot<wire::Frame>();
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
  const std::size_t bytes = ((std::size_t{last} + 1) / 2 + 1) * sizeof(capnp::word);
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
  const std::size_t header = *headerBytes();
  const std::uint32_t count = word32(0) + 1;
  auto words = kj::heapArray<capnp::word>((*total - header) / sizeof(capnp::word));
  if (words.size() > 0) {
    std::memcpy(words.begin(), buffer_.data() + begin_ + header, *total - header);
  }
  std::vector<kj::ArrayPtr<const capnp::word>> segments;
  segments.reserve(count);
  std::size_t offset = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::size_t size = word32(i + 1);
    segments.push_back(words.slice(offset, offset + size));
    offset += size;
  }
  begin_ += *total;
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() > kKeptBytes) {
    const auto* held = buffer_.data();
    std::vector<std::byte>(held + begin_, held + end_).swap(buffer_);
    end_ -= begin_;
    begin_ = 0;
  }
  Charge charge = charge_.take();
  ReceivedFrame frame(kj::mv(words), std::move(segments));
  frame.charge = std::move(charge);
  return frame;
}

}  // namespace baton::ipc
