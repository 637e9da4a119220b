// A ring: records of any size from one producer to one consumer, in memory that both map. A side is one
// thread at a time; the two sides may be threads or processes, and neither trusts the other.
//
// A record is a header of eight bytes {u32 length, u16 flags, u16 zero} and its bytes, padded to a multiple
// of eight; it lies in one piece. Where one does not fit before the end of the buffer, a PAD record fills the
// rest.
//
//     0        8                40       48          capacity
//     | 27     | bytes .....00 | 4 MORE | bytes ..0 | ...... PAD |
//     ^ read (consumer)                             ^ written (producer)
//
// Invariants
// 1. Those of ring_positions.h. The store of a position is the only commit: `publish` hands over every record
//    committed since the last, `release` gives back the room of every record consumed since the last.
// 2. What `tryReserve` returned belongs to the producer until it publishes; what `tryPeek` returned stays in
// place
//    until the consumer releases, but a hostile producer can change it at any time: who does not trust it
//    copies it out and looks only at the copy.
// 3. `tryPeek` loads each header once and checks length, flags, end of buffer and position, so that no record
//    lies outside of what was published. Whatever the producer writes, the consumer gets records or
//    CorruptRing.
// 4. Records are at most half of the capacity with their header, so that a record fits into an empty ring
//    wherever its positions stand. What is larger travels in pieces, all but the last flagged `more`.
//
// Waking is apart: after `publish` and `release` call the peer's Waker, and before sleeping look again by
// `tryPeek` or `tryReserve` (wake.h).
//
// A death: of the producer before `publish`: the consumer sees nothing of it; after: all. Of the consumer
// before `release`: `passed` still tells the producer what was not read; after: that it was. Nothing to
// repair.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "shm/ring_positions.h"

namespace baton::shm {

// What the peer wrote cannot be. Says nothing of this side: its objects stay usable, but the ring's content
// is lost.
class CorruptRing : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline constexpr std::size_t kRingHeaderBytes = 8;
// Smaller: no room for a frame of a page. Larger: a length must fit its field, with much to spare.
inline constexpr std::size_t kMinRingBytes = std::size_t{4} << 10;
inline constexpr std::size_t kMaxRingBytes = std::size_t{1} << 30;

// The most that one record holds.
constexpr std::size_t maxRecordBytes(std::size_t capacityBytes) {
  return capacityBytes / 2 - kRingHeaderBytes;
}

// What a record takes of the ring.
constexpr std::size_t recordSpaceBytes(std::size_t sizeBytes) {
  return kRingHeaderBytes + (sizeBytes + kRingAlignment - 1) / kRingAlignment * kRingAlignment;
}

namespace ring_detail {

inline constexpr std::uint64_t kMore = 1;  // a piece of something larger follows
inline constexpr std::uint64_t kPad = 2;   // no record: the buffer's end

constexpr std::uint64_t header(std::size_t lengthBytes, std::uint64_t flags) {
  return lengthBytes | flags << 32;
}

// Throws std::invalid_argument for a buffer that cannot be a ring.
void checkBuffer(std::span<const std::byte> buffer);
[[noreturn]] void throwRecordTooLarge();

}  // namespace ring_detail

template <class Words>
class BasicRingProducer {
 public:
  using Control = BasicRingControl<Words>;

  // On a new ring; `buffer` is aligned to eight, and its size a power of two.
  BasicRingProducer(Control& control, std::span<std::byte> buffer)
      : position_(control, buffer.size()), buffer_(buffer.data()), capacityBytes_(buffer.size()) {
    ring_detail::checkBuffer(buffer);
  }

  std::size_t capacity() const { return capacityBytes_; }
  std::size_t maxRecord() const { return maxRecordBytes(capacityBytes_); }
  // Room for records and their headers, as the consumer has it now. One record may have to leave some unused.
  std::size_t freeBytes() { return position_.freeBytes(); }

  // Room for a record of this size, aligned to eight. nullopt: full. A second call replaces the first. Throws
  // std::length_error if it is larger than `maxRecord`.
  std::optional<std::span<std::byte>> tryReserve(std::size_t sizeBytes) {
    if (sizeBytes > maxRecord()) ring_detail::throwRecordTooLarge();
    const std::size_t space = recordSpaceBytes(sizeBytes);
    const std::size_t offset = position_.written() & (capacityBytes_ - 1);
    const std::size_t toEnd = capacityBytes_ - offset;
    const std::size_t pad = toEnd < space ? toEnd : 0;
    if (!position_.hasRoom(pad + space)) return std::nullopt;
    if (pad != 0) {
      Words::storeBytes(buffer_ + offset, ring_detail::header(pad - kRingHeaderBytes, ring_detail::kPad));
    }
    padBytes_ = pad;
    reservedBytes_ = sizeBytes;
    record_ = pad != 0 ? buffer_ : buffer_ + offset;
    return std::span(record_ + kRingHeaderBytes, sizeBytes);
  }

  // The first `sizeBytes` of what was reserved are a record, unpublished. `more`: the next one continues it.
  void commit(std::size_t sizeBytes, bool more = false) {
    if (record_ == nullptr || sizeBytes > reservedBytes_) ring_detail::throwRecordTooLarge();
    Words::storeBytes(record_, ring_detail::header(sizeBytes, more ? ring_detail::kMore : 0));
    position_.advance(padBytes_ + recordSpaceBytes(sizeBytes));
    record_ = nullptr;
  }

  // Reserves, copies and commits. False: full.
  [[nodiscard]] bool tryPush(std::span<const std::byte> bytes, bool more = false) {
    const auto room = tryReserve(bytes.size());
    if (!room) return false;
    if (!bytes.empty()) std::memcpy(room->data(), bytes.data(), bytes.size());
    commit(bytes.size(), more);
    return true;
  }

  // Hands over all that was committed. Then wake the consumer.
  void publish() { position_.publish(); }
  bool hasUnpublished() const { return position_.published() != position_.written(); }

  // The end of the last committed record. The consumer has read it if `passed()` is not below this.
  std::uint64_t position() const { return position_.written(); }
  // Up to where the consumer has read and released, dead or alive.
  std::uint64_t passed() { return position_.passed(); }

 private:
  ProducerPosition<Words> position_;
  std::byte* buffer_;
  std::size_t capacityBytes_;
  std::byte* record_ = nullptr;  // reserved, its header first
  std::size_t reservedBytes_ = 0;
  std::size_t padBytes_ = 0;
};

struct RingRecord {
  std::span<const std::byte> bytes;  // in the ring, aligned to eight
  bool more = false;                 // the next record continues it
};

template <class Words>
class BasicRingConsumer {
 public:
  using Control = BasicRingControl<Words>;

  // On a new ring, as the producer.
  BasicRingConsumer(Control& control, std::span<const std::byte> buffer)
      : position_(control, buffer.size()), buffer_(buffer.data()), capacityBytes_(buffer.size()) {
    ring_detail::checkBuffer(buffer);
  }

  std::size_t capacity() const { return capacityBytes_; }

  // The oldest record that is not consumed. nullopt: empty. Throws CorruptRing.
  std::optional<RingRecord> tryPeek() {
    std::uint64_t available = position_.available();
    if (available == 0) return std::nullopt;
    std::size_t offset = position_.read() & (capacityBytes_ - 1);
    std::uint64_t header = Words::loadBytes(buffer_ + offset);
    if (flags(header) == ring_detail::kPad) {
      const std::uint64_t toEnd = capacityBytes_ - offset;
      // A pad at the beginning would skip the whole buffer; an honest one is shorter than a record.
      if (length(header) + kRingHeaderBytes != toEnd || toEnd > available || toEnd >= capacityBytes_ / 2)
        throwCorruptRing("a pad that does not end with the buffer");
      position_.advance(toEnd);
      available = position_.available();
      if (available == 0) return std::nullopt;
      offset = 0;
      header = Words::loadBytes(buffer_);
    }
    const std::uint64_t sizeBytes = length(header);
    if (sizeBytes > maxRecordBytes(capacityBytes_) || (flags(header) & ~ring_detail::kMore) != 0)
      throwCorruptRing("a record's header that cannot be");
    peekedBytes_ = recordSpaceBytes(sizeBytes);
    if (peekedBytes_ > available || peekedBytes_ > capacityBytes_ - offset) {
      peekedBytes_ = 0;
      throwCorruptRing("a record beyond what was published");
    }
    return RingRecord{{buffer_ + offset + kRingHeaderBytes, sizeBytes},
                      (flags(header) & ring_detail::kMore) != 0};
  }

  // A private copy of the beginning of a record; nothing that the producer does later changes it.
  static void copyOut(const RingRecord& record, std::span<std::byte> to) {
    if (to.size() > record.bytes.size()) ring_detail::throwRecordTooLarge();
    if (!to.empty()) Words::copyOut(to.data(), record.bytes.data(), to.size());
  }

  // The peeked record is done; the next peek returns the one behind it. Its bytes stay until `release`.
  void consume() { position_.advance(std::exchange(peekedBytes_, 0)); }

  // Gives the room of all consumed records back. Then wake the producer. Until then they count as not read.
  void release() { position_.release(); }
  // Consumed and not yet given back. Release when this is much, and always before sleeping: the producer may
  // wait for it.
  std::size_t unreleased() const { return position_.unreleased(); }
  bool shouldRelease() const { return unreleased() >= capacityBytes_ / 4; }

  // The end of the last consumed record.
  std::uint64_t position() const { return position_.read(); }

 private:
  static std::uint64_t length(std::uint64_t header) { return header & 0xffff'ffffU; }
  // With the reserved field, which must be zero.
  static std::uint64_t flags(std::uint64_t header) { return header >> 32; }

  ConsumerPosition<Words> position_;
  const std::byte* buffer_;
  std::size_t capacityBytes_;
  std::uint64_t peekedBytes_ = 0;
};

using RingControl = BasicRingControl<DirectWords>;
using RingProducer = BasicRingProducer<DirectWords>;
using RingConsumer = BasicRingConsumer<DirectWords>;

extern template class BasicRingProducer<DirectWords>;
extern template class BasicRingConsumer<DirectWords>;

}  // namespace baton::shm
