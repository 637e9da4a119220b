// Whether and how long a side of a pipe looks again before it sleeps. Only between two clients of a pipe: the
// daemon and workers never spin. One thread at a time.
//
// Invariants
// 1. At most `kSpin` for each wait, and only where the process may use two processors: on one, spinning keeps
// the
//    peer from running.
// 2. Only while it pays: a spin that was in vain is the last, until a wait ends as soon as a spin would have.
#pragma once

#include <chrono>

#include "shm/wake.h"

namespace baton::shm {

class SpinPolicy {
 public:
  // A wake-up costs 3 to 10 us on each side; what takes longer is cheaper slept through.
  static constexpr std::chrono::microseconds kSpin{10};
  // A sleep that ended within this had its reason within `kSpin`, give or take the wake-up itself.
  static constexpr std::chrono::microseconds kShortSleep{25};

  // Of the calling thread's affinity mask.
  static bool mayUseTwoProcessors();

  explicit SpinPolicy(bool enabled) : enabled_(enabled), pays_(enabled) {}

  bool pays() const { return pays_; }

  // True: `ready` became true meanwhile.
  template <class Ready>
  bool spin(Ready&& ready) {
    if (!pays_) return false;
    const Clock::time_point end = Clock::now() + kSpin;
    do {
      for (int look = 0; look < kLooks; ++look) {
        if (ready()) return true;
        pause();
      }
    } while (Clock::now() < end);
    pays_ = false;
    return false;
  }

  // After a sleep that the peer ended.
  void slept(Clock::duration time) { pays_ = enabled_ && time <= kShortSleep; }

 private:
  // Between two looks at the clock, which costs as much as some of them.
  static constexpr int kLooks = 16;

  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  bool enabled_;
  bool pays_;
};

}  // namespace baton::shm
