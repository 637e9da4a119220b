// Frames as bytes: building one, and taking them out of a byte stream from a peer that may be hostile.
#pragma once

#include <capnp/message.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ipc/baton.capnp.h"
#include "ipc/charge.h"
#include "shm/fd.h"

namespace baton::ipc {

// A frame in one piece; larger payloads travel as sealed memfds. 1 MiB: two orders above a long command line,
// small enough that 64 MiB in flight per uid is 64 of them.
constexpr std::size_t kMaxFrameBytes = 1 << 20;
// A message built by any library has 1 to 3 segments; 16 leaves room for a builder with a small first one.
constexpr std::size_t kMaxSegments = 16;
// What one connection may hold in part, or have unread, without being charged for it: every usual request is
// smaller, so that looking and cancelling work for a user whose budget is spent. 256 connections take 8 MiB.
constexpr std::size_t kUnchargedBytes = std::size_t{32} << 10;
// The kernel takes 253 in one message; nothing of ours needs more than 3.
constexpr std::size_t kMaxFds = 16;
// Context > environment list > Data is 3 deep, Value at most 10 on top of its carrier.
constexpr int kMaxNesting = 24;

// A frame to be sent: build through `frame()`, attach descriptors with `attach`.
class Message {
 public:
  Message() : builder_(std::make_unique<capnp::MallocMessageBuilder>(kFirstSegmentWords)) {
    frame_ = builder_->initRoot<wire::Frame>();
  }
  wire::Frame::Builder frame() { return frame_; }
  // Takes ownership; the descriptors arrive in the order of the calls.
  void attach(shm::Fd fd);

  bool hasFds() const { return !fds_.empty(); }
  std::vector<shm::Fd> takeFds() { return std::move(fds_); }
  // In the stream framing of Cap'n Proto: first its size, then `write` to as many bytes, aligned to eight or
  // not. Nothing may be built any more.
  std::size_t finish();
  void write(std::byte* to) const;
  void appendTo(std::vector<std::byte>& out);

 private:
  static constexpr unsigned kFirstSegmentWords = 128;
  std::unique_ptr<capnp::MallocMessageBuilder> builder_;
  wire::Frame::Builder frame_{nullptr};
  std::vector<shm::Fd> fds_;
};

// A received frame: a private copy of its bytes, so that nothing can change while it is read.
class ReceivedFrame {
 public:
  // The segments lie in the words.
  ReceivedFrame(kj::Array<capnp::word> words, std::vector<kj::ArrayPtr<const capnp::word>> segments);

  wire::Frame::Reader get() const { return frame_; }
  std::vector<shm::Fd> fds;
  Charge charge;  // for its memory

 private:
  kj::Array<capnp::word> words_;
  std::vector<kj::ArrayPtr<const capnp::word>> segments_;
  std::unique_ptr<capnp::SegmentArrayMessageReader> reader_;
  wire::Frame::Reader frame_;
};

// One frame with its table, and nothing else. Throws Error(protocol).
ReceivedFrame frameOf(kj::Array<capnp::word> words);

// Takes frames out of a byte stream.
//
// 1. Memory for a frame is allocated when its bytes arrive, never by what the segment table announces.
// 2. It is charged before, for the whole frame at once: one that was begun can always be finished.
// 3. At most one frame and one `room` are held.
class FrameReader {
 public:
  explicit FrameReader(std::size_t maxFrameBytes = kMaxFrameBytes, std::shared_ptr<Budget> budget = nullptr)
      : maxFrameBytes_(maxFrameBytes), charge_(std::move(budget)) {}

  // To be asked before `room`. False: there is no room in the budget for the frame that comes now; more of it
  // must not be read until this says yes. Throws as `next`.
  [[nodiscard]] bool admit();
  // Where the next bytes of the stream go: at least `wanted` bytes, more while a large frame comes. Valid
  // until the next call.
  std::span<std::byte> room(std::size_t wanted);
  void added(std::size_t bytes) { end_ += bytes; }
  // The next complete frame. Throws Error(protocol) on a framing error; the stream is unusable then.
  // A frame's bytes are checked for structure only when it is read: readers throw kj::Exception.
  std::optional<ReceivedFrame> next();
  // True when bytes of an incomplete frame are held.
  bool partial() const { return end_ != begin_; }
  std::size_t chargedBytes() const { return charge_.bytes(); }
  // Memory that it takes.
  std::size_t heldBytes() const { return buffer_.capacity(); }

 private:
  std::optional<std::size_t> headerBytes() const;
  std::optional<std::size_t> frameBytes() const;
  std::uint32_t word32(std::size_t index) const;

  std::size_t maxFrameBytes_;
  Charge charge_;
  std::vector<std::byte> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace baton::ipc
