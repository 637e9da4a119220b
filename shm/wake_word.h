// The word by which one side of shared memory says that it sleeps, and the other wakes it. wake.h adds the
// system calls; this is the protocol alone. One sleeper, any number of wakers.
//
//     sleeper                                   waker
//     1 prepare: exchange(how it sleeps)        1 publish (a store of a ring's position, seq_cst)
//     2 look again: load the position           2 claim: load the word; if it says "asleep":
//     3 sleep, if there is still nothing        3   compare-exchange to awake, and wake as the word said
//     4 cancel: exchange(awake), look
//
// Invariants
// 1. All four operations of steps 1 and 2 are seq_cst: so either the waker sees the sleep, or the sleeper
// sees what
//    was published. Weaker orders lose wake-ups (shown by tests/model).
// 2. Only who turns "asleep" into awake wakes: one wake-up for each sleep, however many wakers and records. A
// claim
//    that fails needs no second try: the word has changed since it was loaded, so either another waker wakes,
//    or the sleeper has moved on and looks at the position after that.
// 3. No loop: nothing that the peer does to the word keeps either side here.
//
// Deaths: of a waker after publishing and before claiming, or between claiming and waking: the sleeper is not
// woken. It finds out by itself, as it looks again when its time on the futex ends, and in poll sees the end
// of the peer. Of the sleeper: the waker makes one wake-up that nobody hears.
#pragma once

#include <cstdint>

#include "shm/words.h"

namespace baton::shm {

enum class Sleep : std::uint32_t {
  awake = 0,
  onFutex = 1,  // wake by FUTEX_WAKE on the word
  inPoll = 2,   // wake by its doorbell
};

// In shared memory; zero is awake.
template <class Words>
class BasicWakeWord {
 public:
  using Word = typename Words::template Atomic<std::uint32_t>;

  // The sleeper's. Afterwards it must look again before it sleeps. Pairs with `claim`.
  void prepare(Sleep how) { Words::exchange(word_, raw(how), std::memory_order_seq_cst); }
  // Awake again, for whatever reason.
  void cancel() { Words::exchange(word_, raw(Sleep::awake), std::memory_order_seq_cst); }

  // The waker's, after it has published: how the caller must wake the sleeper now. Pairs with `prepare`.
  Sleep claim() {
    std::uint32_t seen = Words::load(word_, std::memory_order_seq_cst);
    if (seen != raw(Sleep::onFutex) && seen != raw(Sleep::inPoll)) return Sleep::awake;
    const auto how = static_cast<Sleep>(seen);
    return Words::compareExchange(word_, seen, raw(Sleep::awake), std::memory_order_seq_cst) ? how
                                                                                             : Sleep::awake;
  }

  // For the futex calls: sleep while it says `onFutex`.
  Word& futex() { return word_; }
  static constexpr std::uint32_t raw(Sleep how) { return static_cast<std::uint32_t>(how); }

 private:
  alignas(kLineBytes) Word word_{0};
};

using WakeWord = BasicWakeWord<DirectWords>;

}  // namespace baton::shm
