#include "ipc/ring_channel.h"

#include <algorithm>
#include <bit>

#include "ipc/error.h"

namespace baton::ipc {

std::size_t connectionRingBytes(std::uint32_t asked) {
  if (asked < kMinConnectionRingBytes || !std::has_single_bit(asked)) {
    throw Error(Code::usage, "a ring has a power of two of bytes, at least 16384");
  }
  return std::min<std::size_t>(asked, kMaxConnectionRingBytes);
}

RingChannel::RingChannel(Ends ends, std::size_t maxFrameBytes, std::shared_ptr<Budget> budget)
    : memory_(std::move(ends.memory)),
      duplex_(memory_, ends.sizes, ends.side),
      own_(std::move(ends.own)),
      peer_(std::move(ends.peer)),
      out_(duplex_.producer()),
      in_(duplex_.consumer()),
      waker_(duplex_.peerWake(), peer_),
      sleeper_(duplex_.ownWake(), own_),
      maxFrameBytes_(maxFrameBytes),
      budget_(std::move(budget)),
      reader_(maxFrameBytes, budget_) {}

template <class Work>
auto RingChannel::guarded(Work&& work) {
  try {
    return work();
  } catch (const shm::CorruptRing& error) {
    throw Error(Code::protocol, error.what());
  }
}

// ---- sending ---------------------------------------------------------------------------------------------

void RingChannel::send(Message& message) {
  const std::size_t bytes = message.finish();
  ++sent_;
  if (backlog_.empty() && bytes <= out_.maxRecord()) {
    if (const auto room = reserve(bytes)) {
      message.write(room->data());
      out_.commit(bytes);
      ++placed_;
      return;
    }
  }
  message.write(backlog_.emplace_back(bytes).data());
  unsent_ += bytes;
}

std::optional<std::span<std::byte>> RingChannel::reserve(std::size_t bytes) {
  try {
    return out_.tryReserve(bytes);
  } catch (const shm::CorruptRing&) {
    broken_ = true;
    return std::nullopt;
  }
}

void RingChannel::push() {
  while (!backlog_.empty()) {
    const std::span<const std::byte> frame = backlog_.front();
    while (begun_ < frame.size()) {
      const std::size_t bytes = std::min(frame.size() - begun_, out_.maxRecord());
      if (!out_.tryPush(frame.subspan(begun_, bytes), begun_ + bytes < frame.size())) return;
      begun_ += bytes;
      unsent_ -= bytes;
    }
    ++placed_;
    if (!waitingMarks_.empty() && waitingMarks_.front() == placed_) {
      waitingMarks_.pop_front();
      marks_.push_back({placed_, out_.position()});
    }
    backlog_.pop_front();
    begun_ = 0;
  }
}

bool RingChannel::flush() {
  if (broken_) throw Error(Code::protocol, "the peer's position in a ring cannot be");
  return guarded([&] {
    push();
    if (out_.hasUnpublished()) {
      out_.publish();
      // A peer that has gone is told of by the socket.
      static_cast<void>(waker_.wake());
    }
    return backlog_.empty();
  });
}

std::uint64_t RingChannel::mark() {
  if (placed_ == sent_) {
    marks_.push_back({sent_, out_.position()});
  } else {
    waitingMarks_.push_back(sent_);
  }
  return sent_;
}

std::uint64_t RingChannel::passed() {
  if (marks_.empty()) return passed_;
  std::uint64_t position = 0;
  try {
    position = out_.passed();
  } catch (const shm::CorruptRing&) {
    broken_ = true;
  }
  while (!marks_.empty() && marks_.front().position <= position) {
    passed_ = marks_.front().frame;
    marks_.pop_front();
  }
  return passed_;
}

// ---- receiving -------------------------------------------------------------------------------------------

std::optional<ReceivedFrame> RingChannel::next() {
  return guarded([&]() -> std::optional<ReceivedFrame> {
    noRoom_ = false;
    while (const auto record = in_.tryPeek()) {
      auto frame = inPieces_ || record->more ? piece(*record) : whole(*record);
      if (noRoom_) break;
      in_.consume();
      if (in_.shouldRelease()) release();
      if (frame) return frame;
    }
    return std::nullopt;
  });
}

std::optional<ReceivedFrame> RingChannel::whole(const shm::RingRecord& record) {
  const std::size_t bytes = record.bytes.size();
  if (bytes > maxFrameBytes_) throw Error(Code::tooLarge, "a frame of " + std::to_string(bytes) + " bytes");
  if (bytes % sizeof(capnp::word) != 0) throw Error(Code::protocol, "a frame of broken words");
  Charge charge(budget_);
  if (bytes > kUnchargedBytes && !charge.tryRaise(bytes)) {
    noRoom_ = true;
    return std::nullopt;
  }
  auto words = kj::heapArray<capnp::word>(bytes / sizeof(capnp::word));
  shm::RingConsumer::copyOut(record, std::as_writable_bytes(std::span(words.begin(), words.size())));
  auto frame = frameOf(kj::mv(words));
  frame.charge = std::move(charge);
  return frame;
}

std::optional<ReceivedFrame> RingChannel::piece(const shm::RingRecord& record) {
  if (!reader_.admit()) {
    noRoom_ = true;
    return std::nullopt;
  }
  const std::size_t bytes = record.bytes.size();
  const bool last = !record.more;
  // So a frame of any size takes a bounded number of them.
  if (!last && bytes != shm::maxRecordBytes(in_.capacity())) {
    throw Error(Code::protocol, "a piece of a frame that is not as large as a piece can be");
  }
  shm::RingConsumer::copyOut(record, reader_.room(bytes).first(bytes));
  reader_.added(bytes);
  inPieces_ = !last;
  auto frame = reader_.next();
  if (frame.has_value() != last || (last && reader_.partial())) {
    throw Error(Code::protocol, "a frame in pieces that do not make it");
  }
  return frame;
}

bool RingChannel::admit() {
  return guarded([&] {
    if (!noRoom_) return true;
    if (inPieces_) return reader_.admit();
    const auto record = in_.tryPeek();
    Charge charge(budget_);
    return !record || record->bytes.size() <= kUnchargedBytes || charge.tryRaise(record->bytes.size());
  });
}

void RingChannel::release() {
  if (in_.unreleased() == 0) return;
  in_.release();
  static_cast<void>(waker_.wake());
}

// ---- sleeping --------------------------------------------------------------------------------------------

void RingChannel::arm() {
  release();
  sleeper_.arm();
}

bool RingChannel::readable() {
  return guarded([&] { return !noRoom_ && in_.tryPeek().has_value(); });
}

bool RingChannel::writable() {
  if (backlog_.empty()) return false;
  const std::size_t bytes = std::min(backlog_.front().size() - begun_, out_.maxRecord());
  return reserve(bytes).has_value() || broken_;
}

shm::Woken RingChannel::wait(bool listen, std::span<pollfd> others, shm::Deadline deadline) {
  release();
  return sleeper_.wait([&] { return (listen && readable()) || writable(); }, others, deadline);
}

}  // namespace baton::ipc
