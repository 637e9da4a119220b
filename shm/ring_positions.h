// The positions of a ring: how a producer and a consumer hand over bytes of a buffer that both map. One
// thread at a time on each side. ring.h puts records on top; nobody else needs this header.
//
// Invariants
// 1. Both positions count bytes from the ring's beginning and never wrap (2^64); the bytes between `read` and
//    `written` are the consumer's, all others the producer's. 0 <= written - read <= capacity.
// 2. `written` is stored by the producer alone, `read` by the consumer alone. Each keeps its own privately
// and
//    never reads it back, so a peer that overwrites it harms only itself.
// 3. One store of `written` is the only commit of everything before it; one store of `read` gives all bytes
// before
//    it back. Until then the peer touches none of them.
// 4. What is loaded of the peer is checked: it may not go back, nor beyond what it can be, nor be unaligned.
// 5. The stores and loads are seq_cst, not just release and acquire: the wake-up (wake_word.h) needs that the
// store
//    is before the look at whether the peer sleeps, and the peer's "I sleep" before its look at the position.
//
// A death before a store of a position leaves nothing of what it would have published; after it, all.
#pragma once

#include <cstdint>

#include "shm/words.h"

namespace baton::shm {

// The peer broke the rules of the ring. There is nothing to do but to end the connection.
[[noreturn]] void throwCorruptRing(const char* what);

// In shared memory; zeros make a new one. Each position has lines of its own.
template <class Words>
struct BasicRingControl {
  alignas(kLineBytes) typename Words::template Atomic<std::uint64_t> written{0};
  alignas(kLineBytes) typename Words::template Atomic<std::uint64_t> read{0};
};

inline constexpr std::uint64_t kRingAlignment = 8;

template <class Words>
class ProducerPosition {
 public:
  using Control = BasicRingControl<Words>;
  ProducerPosition(Control& control, std::uint64_t capacityBytes)
      : control_(&control), capacityBytes_(capacityBytes) {}

  // Up to here the producer has written, published or not.
  std::uint64_t written() const { return written_; }
  std::uint64_t published() const { return published_; }

  // Looks at the consumer's position only if what was seen last is not enough.
  bool hasRoom(std::uint64_t sizeBytes) { return sizeBytes <= free() || (passed(), sizeBytes <= free()); }
  std::uint64_t freeBytes() { return passed(), free(); }

  void advance(std::uint64_t sizeBytes) { written_ += sizeBytes; }

  // Pairs with the load in ConsumerPosition::look.
  void publish() {
    published_ = written_;
    Words::store(control_->written, written_, std::memory_order_seq_cst);
  }

  // Looks at how far the consumer has read. Pairs with the store in ConsumerPosition::release.
  std::uint64_t passed() {
    const std::uint64_t read = Words::load(control_->read, std::memory_order_seq_cst);
    if (read - passed_ > published_ - passed_ || read % kRingAlignment != 0)
      throwCorruptRing("a read position that cannot be");
    return passed_ = read;
  }

 private:
  std::uint64_t free() const { return capacityBytes_ - (written_ - passed_); }

  Control* control_;
  std::uint64_t capacityBytes_;
  std::uint64_t written_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t passed_ = 0;
};

template <class Words>
class ConsumerPosition {
 public:
  using Control = BasicRingControl<Words>;
  ConsumerPosition(Control& control, std::uint64_t capacityBytes)
      : control_(&control), capacityBytes_(capacityBytes) {}

  std::uint64_t read() const { return read_; }
  std::uint64_t unreleased() const { return read_ - released_; }

  // Bytes that may be read. Looks at the producer's position only if none are left of those seen last.
  std::uint64_t available() {
    if (read_ == seen_) look();
    return seen_ - read_;
  }

  void advance(std::uint64_t sizeBytes) { read_ += sizeBytes; }

  // Pairs with the load in ProducerPosition::passed.
  void release() {
    released_ = read_;
    Words::store(control_->read, read_, std::memory_order_seq_cst);
  }

 private:
  // Pairs with the store in ProducerPosition::publish.
  void look() {
    const std::uint64_t written = Words::load(control_->written, std::memory_order_seq_cst);
    const std::uint64_t limit = released_ + capacityBytes_;
    if (written - seen_ > limit - seen_ || written % kRingAlignment != 0)
      throwCorruptRing("a written position that cannot be");
    seen_ = written;
  }

  Control* control_;
  std::uint64_t capacityBytes_;
  std::uint64_t read_ = 0;
  std::uint64_t released_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace baton::shm
