// What the tests of the ring share: a ring in memory of this process, and payloads that say which they are.
#pragma once

#include <memory>
#include <vector>

#include "shm/ring.h"

namespace baton::shm {

inline std::vector<std::byte> payload(std::uint64_t number, std::size_t sizeBytes) {
  std::vector<std::byte> bytes(sizeBytes);
  std::uint64_t state = number * 0x9e3779b97f4a7c15U + sizeBytes;
  for (auto& byte : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

// A small, seeded generator: the tests must be the same everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t limit) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return (state_ >> 33) % limit;
  }

 private:
  std::uint64_t state_;
};

struct RingRig {
  explicit RingRig(std::size_t capacityBytes = kMinRingBytes)
      : words(capacityBytes / 8), producer(control, buffer()), consumer(control, buffer()) {}

  std::span<std::byte> buffer() { return std::as_writable_bytes(std::span(words)); }

  bool push(std::span<const std::byte> bytes) {
    if (!producer.tryPush(bytes)) return false;
    producer.publish();
    return true;
  }
  // A copy of the oldest record, consumed and released.
  std::optional<std::vector<std::byte>> pop() {
    const auto record = consumer.tryPeek();
    if (!record) return std::nullopt;
    std::vector<std::byte> copy(record->bytes.size());
    RingConsumer::copyOut(*record, copy);
    consumer.consume();
    consumer.release();
    return copy;
  }

  RingControl control;
  std::vector<std::uint64_t> words;
  RingProducer producer;
  RingConsumer consumer;
};

}  // namespace baton::shm
