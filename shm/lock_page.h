// The lock page of a connection: what the daemon has delegated to this client, a slot for each lock. It is in
// the memory of the connection's rings. The daemon says which slot is which lock; a client with more locks
// than slots gives the idle ones back, or asks for each acquire.
//
// Who may call: the client's threads `SinceHint::set`, for the slot that they hold; the daemon all else. The
// words themselves: lock_word.h.
//
// Invariants
// 1. A slot is one lock's from the first grant until its word is NONE and the daemon has taken it back.
// 2. `since` is a hint for people: nothing is decided by it, and a client may write anything.
// A death leaves the words as they were: lock_word.h.
#pragma once

#include <time.h>

#include <array>
#include <chrono>

#include "shm/lock_word.h"

namespace baton::shm {

// When the holder took it. CLOCK_MONOTONIC_COARSE: a tenth of the price, and good to 4 ms.
class SinceHint {
 public:
  // Right after the acquire.
  void set() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    DirectWords::store(ns_, static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec,
                       std::memory_order_relaxed);
  }
  // On the clock of std::chrono::steady_clock.
  std::chrono::nanoseconds get() const {
    return std::chrono::nanoseconds(DirectWords::load(ns_, std::memory_order_relaxed));
  }

 private:
  std::atomic<std::uint64_t> ns_{0};
};

// A line for each: two threads on neighbouring slots of one line slow each other down several times
// (bench/ipc).
inline constexpr std::size_t kLockSlotBytes = 64;

struct alignas(kLockSlotBytes) LockSlot {
  LockWord word;
  SinceHint since;
};

inline constexpr std::size_t kLockPageBytes = 4096;
inline constexpr std::size_t kLockSlots = kLockPageBytes / sizeof(LockSlot);

// In shared memory, aligned to a page; zeros: nothing is delegated.
struct LockPage {
  std::array<LockSlot, kLockSlots> slots;
};
static_assert(sizeof(LockPage) == kLockPageBytes);

}  // namespace baton::shm
