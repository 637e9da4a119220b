// Shared words whose every access is scheduled by the model checker Relacy, which also lets a load return any
// value that the C++ memory model allows. The models use the real headers of shm/ with these instead of
// DirectWords.
//
// Each model says which orders of the headers it depends on: for every `Weakened` that it lists, one kind of
// access is made weaker, and the checker must then find a fault. So no model passes because it looks at
// nothing.
#pragma once

// Before Relacy's headers, which define macros of these names.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <memory>
#include <streambuf>
#include <string>

#include "shm/words.h"

// Relacy is not written for today's warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include <relacy/relacy.hpp>
#pragma GCC diagnostic pop

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef futex
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

// Relacy replaces the allocation functions, but is older than the sized ones: theirs must meet its own.
[[gnu::used]] inline void operator delete(void* memory, std::size_t) noexcept {
  ::operator delete(memory);
}
[[gnu::used]] inline void operator delete[](void* memory, std::size_t) noexcept {
  ::operator delete[](memory);
}

namespace baton::model {

enum class Weakened {
  nothing,
  // A ring's positions, by who does it (thread 0 is the producer): seq_cst to relaxed.
  producerStore,
  producerLoad,
  consumerStore,
  consumerLoad,
  // Sleeping and waking: seq_cst to what would do for the data alone.
  positionStore,  // to release
  positionLoad,   // to acquire
  wakePrepare,    // to acq_rel
  wakeLoad,       // to acquire
  // Lock words: to relaxed.
  lockTake,     // the compare-and-swaps with acquire
  lockRelease,  // those with release
  lockRecall,   // those with acq_rel
  lockGrant,    // the store
};

// A position is a u64 and a wake word a u32, which tells them apart; a model has either positions or lock
// words.
template <Weakened weakened>
struct RelacyWords {
  template <class T>
  using Atomic = rl::atomic<T>;

  template <class T>
  static T load(const rl::atomic<T>& word, std::memory_order order) {
    if (sizeof(T) == 8 && order == std::memory_order_seq_cst) {
      if (weakened == Weakened::positionLoad) order = std::memory_order_acquire;
      if (weakened == (inProducer() ? Weakened::producerLoad : Weakened::consumerLoad))
        order = std::memory_order_relaxed;
    }
    if (sizeof(T) == 4 && weakened == Weakened::wakeLoad) order = std::memory_order_acquire;
    return word.load(relacy(order), RL_INFO);
  }
  template <class T>
  static void store(rl::atomic<T>& word, T value, std::memory_order order) {
    if (order == std::memory_order_seq_cst) {
      if (weakened == Weakened::positionStore) order = std::memory_order_release;
      if (weakened == (inProducer() ? Weakened::producerStore : Weakened::consumerStore))
        order = std::memory_order_relaxed;
    } else if (weakened == Weakened::lockGrant) {
      order = std::memory_order_relaxed;
    }
    word.store(value, relacy(order), RL_INFO);
  }
  template <class T>
  static T exchange(rl::atomic<T>& word, T value, std::memory_order order) {
    if (weakened == Weakened::wakePrepare) order = std::memory_order_acq_rel;
    return word.exchange(value, relacy(order), RL_INFO);
  }
  template <class T>
  static T fetchOr(rl::atomic<T>& word, T bits, std::memory_order order) {
    if (weakened == Weakened::lockRecall) order = std::memory_order_relaxed;
    return word.fetch_or(bits, relacy(order), RL_INFO);
  }
  template <class T>
  static bool compareExchange(rl::atomic<T>& word, T& expected, T desired, std::memory_order order) {
    if (weakened == Weakened::lockTake && order == std::memory_order_acquire)
      order = std::memory_order_relaxed;
    if (weakened == Weakened::lockRelease && order == std::memory_order_release)
      order = std::memory_order_relaxed;
    if (weakened == Weakened::lockRecall && order == std::memory_order_acq_rel)
      order = std::memory_order_relaxed;
    return word.compare_exchange_strong(expected, desired, relacy(order), RL_INFO, rl::mo_relaxed, RL_INFO);
  }

 private:
  static bool inProducer() { return rl::thread_index() == 0; }

  static rl::memory_order relacy(std::memory_order order) {
    switch (order) {
      case std::memory_order_relaxed:
        return rl::mo_relaxed;
      case std::memory_order_consume:
      case std::memory_order_acquire:
        return rl::mo_acquire;
      case std::memory_order_release:
        return rl::mo_release;
      case std::memory_order_acq_rel:
        return rl::mo_acq_rel;
      case std::memory_order_seq_cst:
        break;
    }
    return rl::mo_seq_cst;
  }
};

// What the kernel does for a word: sleeps only while it says so, wakes whoever sleeps. The word itself is
// loaded relaxed, the weakest that it can be; the kernel's own lock orders the rest.
class RelacyFutex {
 public:
  void wait(const rl::atomic<std::uint32_t>& word, std::uint32_t whileEqual) {
    mutex_.lock(RL_INFO);
    if (word.load(rl::mo_relaxed, RL_INFO) == whileEqual) woken_.wait(mutex_, RL_INFO);
    mutex_.unlock(RL_INFO);
  }
  void wake() {
    mutex_.lock(RL_INFO);
    woken_.notify_one(RL_INFO);
    mutex_.unlock(RL_INFO);
  }

 private:
  rl::mutex mutex_;
  rl::condition_variable woken_;
};

// A doorbell: a ring stays until it is taken.
class RelacyBell {
 public:
  void ring() {
    mutex_.lock(RL_INFO);
    rings_(RL_INFO) = 1;
    rung_.notify_one(RL_INFO);
    mutex_.unlock(RL_INFO);
  }
  void await() {
    mutex_.lock(RL_INFO);
    while (rings_(RL_INFO).load() == 0) rung_.wait(mutex_, RL_INFO);
    rings_(RL_INFO) = 0;
    mutex_.unlock(RL_INFO);
  }

 private:
  rl::mutex mutex_;
  rl::condition_variable rung_;
  rl::var<int> rings_{0};
};

// What the checker says. In memory that does not grow: it writes from inside of a run, where allocations are
// its own.
class Report : public std::streambuf {
 public:
  Report() { setp(text_.data(), text_.data() + text_.size()); }
  std::string text() const { return {pbase(), pptr()}; }

 private:
  int_type overflow(int_type character) override { return traits_type::not_eof(character); }

  std::array<char, std::size_t{1} << 18> text_;
};

// Empty: no fault in that many schedules (all up to the bound on preemptions, or so many at random). Else
// what was found, with its history.
template <class Suite>
std::string check(rl::test_params parameters) {
  const auto report = std::make_unique<Report>();
  std::ostream output(report.get());
  parameters.output_stream = &output;
  parameters.progress_stream = &output;
  parameters.execution_depth_limit = 5000;
  const bool passed = rl::simulate<Suite>(parameters);
  if (passed) std::cout << report->text();
  return passed ? std::string() : report->text();
}

inline rl::test_params atRandom(rl::iteration_t schedules) {
  rl::test_params parameters;
  parameters.search_type = rl::sched_random;
  parameters.iteration_count = schedules;
  return parameters;
}

inline rl::test_params allWithPreemptions(unsigned bound) {
  rl::test_params parameters;
  parameters.search_type = rl::sched_bound;
  parameters.context_bound = bound;
  return parameters;
}

}  // namespace baton::model
