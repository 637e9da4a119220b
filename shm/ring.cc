#include "shm/ring.h"

#include <bit>
#include <string>

namespace baton::shm {

void throwCorruptRing(const char* what) {
  throw CorruptRing(std::string("the other side of a ring wrote ") + what);
}

namespace ring_detail {

void checkBuffer(std::span<const std::byte> buffer) {
  if (!std::has_single_bit(buffer.size()) || buffer.size() < kMinRingBytes || buffer.size() > kMaxRingBytes)
    throw std::invalid_argument("the size of a ring is a power of two from 4 KiB to 1 GiB");
  if (reinterpret_cast<std::uintptr_t>(buffer.data()) % kRingAlignment != 0)
    throw std::invalid_argument("a ring's buffer is aligned to eight bytes");
}

void throwRecordTooLarge() {
  throw std::length_error("more than a record of the ring holds");
}

}  // namespace ring_detail

template class BasicRingProducer<DirectWords>;
template class BasicRingConsumer<DirectWords>;

}  // namespace baton::shm
