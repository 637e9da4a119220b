// The layout of the memory of one connection or pipe: two rings in opposite directions, a wake word for each
// side, and if wanted a lock page. Whoever maps it makes its ends here, once, and hands each to one thread at
// a time.
//
//     page 0    control words of both rings, wake words of both sides
//     page 1    lock page, where there is one
//     then      the bytes of the ring from `first` to `second`, and of the one back
//
// Invariants
// 1. The sizes are each side's own, as they were agreed on; nothing in the memory says them.
// 2. A side makes its ends of a new memory only: positions begin at zero.
// A death leaves what ring.h, wake_word.h and lock_word.h say.
#pragma once

#include "shm/lock_page.h"
#include "shm/mapping.h"
#include "shm/ring.h"
#include "shm/wake_word.h"

namespace baton::shm {

// The daemon is the first side of a connection; who listens is the first of a pipe.
enum class Side { first, second };

struct DuplexSizes {
  std::size_t toSecondBytes = 0;  // capacities of the rings: ring.h
  std::size_t toFirstBytes = 0;
  bool lockPage = false;

  std::size_t totalBytes() const { return ringsOffset() + toSecondBytes + toFirstBytes; }
  std::size_t ringsOffset() const { return kPageBytes + (lockPage ? kLockPageBytes : 0); }
  static constexpr std::size_t kPageBytes = 4096;
};

// One side's view. The mapping must outlive it and all that it returned.
class Duplex {
 public:
  // Throws std::out_of_range if the mapping is smaller than the sizes say.
  Duplex(const Mapping& mapping, const DuplexSizes& sizes, Side own)
      : mapping_(&mapping), sizes_(sizes), own_(own), control_(&mapping.at<Control>(0)) {
    static_cast<void>(mapping.bytes(0, sizes.totalBytes()));
  }

  RingProducer producer() const { return {controlOf(peer()), bytesTo(peer())}; }
  RingConsumer consumer() const { return {controlOf(own_), bytesTo(own_)}; }
  WakeWord& ownWake() const { return wakeOf(own_); }
  WakeWord& peerWake() const { return wakeOf(peer()); }
  // Throws std::out_of_range if there is none.
  LockPage& lockPage() const {
    if (!sizes_.lockPage) throw std::out_of_range("no lock page here");
    return mapping_->at<LockPage>(DuplexSizes::kPageBytes);
  }

 private:
  struct Control {
    RingControl toSecond;
    RingControl toFirst;
    WakeWord first;
    WakeWord second;
  };
  static_assert(sizeof(Control) <= DuplexSizes::kPageBytes);

  Side peer() const { return own_ == Side::first ? Side::second : Side::first; }
  RingControl& controlOf(Side to) const {
    return to == Side::second ? control_->toSecond : control_->toFirst;
  }
  WakeWord& wakeOf(Side side) const { return side == Side::first ? control_->first : control_->second; }
  std::span<std::byte> bytesTo(Side to) const {
    const std::size_t begin = sizes_.ringsOffset();
    return to == Side::second ? mapping_->bytes(begin, sizes_.toSecondBytes)
                              : mapping_->bytes(begin + sizes_.toSecondBytes, sizes_.toFirstBytes);
  }

  const Mapping* mapping_;
  DuplexSizes sizes_;
  Side own_;
  Control* control_;
};

}  // namespace baton::shm
