// The word by which the daemon delegates a lock to a client, so that the client can take and release it by
// one compare-and-swap in memory of its own. The daemon's table is the authority; the word is what is
// delegated. A word is in the lock page of one connection, which that client and the daemon map, nobody else.
//
//              grant(idle)        tryAcquireCached          release
//      NONE ───────────────► IDLE ────────────────► HELD ───────────────► IDLE
//        │  grant(granted)         takeGrant          │  release, recalled
//        └─────────────────► GRANTED ────────────► HELD ────────────────► NONE   (the client tells the
//        daemon)
//
//      recall: IDLE -> NONE at once; at GRANTED and HELD the RECALL bit, and the release gives it back
//      takeBackGrant: GRANTED -> NONE, where the client did not take it up in time
//
// Who may call: the client's threads the first part, the daemon the second. `markLost` is the client's, when
// it has lost the daemon.
//
// Invariants
// 1. Each transition is one compare-and-swap (or fetch-or) of one word, so nobody sees half of one.
// 2. The daemon decides by its own table and takes of the word only whether the client holds. A client that
// lies
//    keeps its lock (as it may anyway) or loses it; a state that is none counts as HELD. No loop of the
//    daemon depends on the word.
// 3. HELD is released only by the thread whose index is in it; its sequence is the daemon's, of the grant,
// and
//    every step of the client keeps it, so that a client's compare-and-swap never hits a later grant.
// 4. What a holder wrote is seen by the next: acquire at the client's take, release at its release; the
// daemon's
//    recall and grant are acq_rel and release.
//
// A death leaves: before the take IDLE or GRANTED: clean, nobody was inside. From the take to the release
// HELD (with or without RECALL): the next owner is told *abandoned*. After the release IDLE, or NONE before
// the daemon was told: clean. Of the daemon, anywhere: the client's `markLost`.
#pragma once

#include <cstdint>

#include "shm/words.h"

namespace baton::shm {

enum class LockState : std::uint8_t {
  none = 0,     // not delegated
  idle = 1,     // the client may take it
  granted = 2,  // given to a waiting thread that has not seen it yet
  held = 3,     // a thread of the client is inside
};

using ThreadIndex = std::uint32_t;  // of a thread within its client
inline constexpr ThreadIndex kMaxThreadIndex = (1U << 24) - 1;

// The fields of a word.
struct LockView {
  LockState state = LockState::none;
  bool recalled = false;  // the daemon wants it back
  bool lost = false;      // the client has lost the daemon
  ThreadIndex thread = 0;
  std::uint32_t sequence = 0;  // the lower half of the grant's fencing token

  bool operator==(const LockView&) const = default;
};

constexpr std::uint64_t packLock(const LockView& view) {
  return static_cast<std::uint64_t>(view.state) | static_cast<std::uint64_t>(view.recalled) << 6 |
         static_cast<std::uint64_t>(view.lost) << 7 | static_cast<std::uint64_t>(view.thread) << 8 |
         static_cast<std::uint64_t>(view.sequence) << 32;
}

constexpr LockView unpackLock(std::uint64_t word) {
  // What no honest client writes counts as held: never clean, never granted twice.
  const auto state = word & 0x3f;
  return {.state = state > 3 ? LockState::held : static_cast<LockState>(state),
          .recalled = (word >> 6 & 1) != 0,
          .lost = (word >> 7 & 1) != 0,
          .thread = static_cast<ThreadIndex>(word >> 8 & kMaxThreadIndex),
          .sequence = static_cast<std::uint32_t>(word >> 32)};
}

enum class Released {
  kept,      // the lock stays with this client, idle
  returnIt,  // recalled: the caller tells the daemon now
  lost,      // the daemon was lost meanwhile: the lock may have passed on
  notHeld,   // this thread does not hold it
};

enum class Recalled {
  takenBack,  // nobody was inside: the daemon may grant it at once
  granted,    // given but not taken up yet; it comes back when it is released, or by `takeBackGrant`
  held,       // it comes back when it is released, or when the client ends
};

template <class Words>
class BasicLockWord {
 public:
  using Word = typename Words::template Atomic<std::uint64_t>;

  // --- The client's threads ---

  // One compare-and-swap. False: it is not here, or in use, or recalled: ask the daemon.
  [[nodiscard]] bool tryAcquireCached(ThreadIndex thread) { return take(thread, LockState::idle); }

  // After the daemon's answer that it was granted to this thread. False: the daemon took it back meanwhile.
  [[nodiscard]] bool takeGrant(ThreadIndex thread) { return take(thread, LockState::granted); }

  [[nodiscard]] Released release(ThreadIndex thread) {
    std::uint64_t word = Words::load(word_, std::memory_order_relaxed);
    while (true) {
      if ((word & (kStateMask | kThreadMask)) != owner(LockState::held, thread)) return Released::notHeld;
      const bool kept = (word & (kRecall | kLost)) == 0;
      const std::uint64_t next =
          (word & (kSequenceMask | kLost)) | raw(kept ? LockState::idle : LockState::none);
      // It fails only when the daemon recalls, or the client marks it lost: twice at most.
      if (Words::compareExchange(word_, word, next, std::memory_order_release)) {
        if (kept) return Released::kept;
        return (word & kLost) != 0 ? Released::lost : Released::returnIt;
      }
    }
  }

  // The client has lost its daemon: nobody can take it any more. True: a thread is inside, and its release
  // will say `lost`; the lock is not given up before that.
  [[nodiscard]] bool markLost() {
    return state(Words::fetchOr(word_, kLost, std::memory_order_acq_rel)) == LockState::held;
  }

  // --- The daemon ---

  // Delegates it: idle, or granted to a thread that waits. The daemon knows that the word is NONE: it is new,
  // or was taken back, or the client has told of its return. An honest client changes no NONE, so a store is
  // enough.
  void grant(LockState how, ThreadIndex thread, std::uint32_t sequence) {
    Words::store(word_, packLock({.state = how, .thread = thread, .sequence = sequence}),
                 std::memory_order_release);
  }

  // `takenBack` is also said of a lock whose return is still on its way: then its sequence in the client's
  // message is not that of the latest grant.
  [[nodiscard]] Recalled recall() {
    const std::uint64_t word = Words::fetchOr(word_, kRecall, std::memory_order_acq_rel) | kRecall;
    // From here on an honest client takes no idle lock, so these compare-and-swaps do not fail.
    switch (state(word)) {
      case LockState::none:
        return Recalled::takenBack;
      case LockState::idle:
        return toNone(word) ? Recalled::takenBack : Recalled::held;
      case LockState::granted:
        return Recalled::granted;
      case LockState::held:
        break;
    }
    return Recalled::held;
  }

  // True: it was granted and not taken up; it is the daemon's again. False: the thread has it.
  [[nodiscard]] bool takeBackGrant() {
    const std::uint64_t word = Words::load(word_, std::memory_order_relaxed);
    return state(word) == LockState::granted && toNone(word);
  }

  // What the client says now, for the daemon's listings and after the client's death.
  LockView inspect() const { return unpackLock(Words::load(word_, std::memory_order_acquire)); }

 private:
  static constexpr std::uint64_t kStateMask = 0x3f;
  static constexpr std::uint64_t kRecall = packLock({.recalled = true});
  static constexpr std::uint64_t kLost = packLock({.lost = true});
  static constexpr std::uint64_t kThreadMask = packLock({.thread = kMaxThreadIndex});
  static constexpr std::uint64_t kSequenceMask = packLock({.sequence = ~0U});

  static constexpr std::uint64_t raw(LockState state) { return static_cast<std::uint64_t>(state); }
  static constexpr std::uint64_t owner(LockState state, ThreadIndex thread) {
    return packLock({.state = state, .thread = thread});
  }
  static constexpr LockState state(std::uint64_t word) { return unpackLock(word).state; }

  bool take(ThreadIndex thread, LockState from) {
    std::uint64_t word = Words::load(word_, std::memory_order_relaxed);
    // Another try only where the daemon recalls a grant meanwhile, which leaves it to the thread.
    while (mayTake(word, thread, from)) {
      const std::uint64_t taken = (word & (kSequenceMask | kRecall)) | owner(LockState::held, thread);
      if (Words::compareExchange(word_, word, taken, std::memory_order_acquire)) return true;
    }
    return false;
  }

  static bool mayTake(std::uint64_t word, ThreadIndex thread, LockState from) {
    if ((word & (kStateMask | kLost)) != raw(from)) return false;
    if (from == LockState::idle) return (word & kRecall) == 0;
    return (word & kThreadMask) == owner(LockState::none, thread);
  }

  bool toNone(std::uint64_t word) {
    return Words::compareExchange(word_, word, word & kSequenceMask, std::memory_order_acq_rel);
  }

  Word word_{0};
};

using LockWord = BasicLockWord<DirectWords>;

}  // namespace baton::shm
