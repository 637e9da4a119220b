// How words and bytes of shared memory are read and written. Everything in shm/ that touches memory which
// another process can write goes through a `Words`, the template parameter of the classes here: `DirectWords`
// in the programs; in the tests one that the model checker schedules, and one that returns other bytes at
// each read.
//
// Invariants
// 1. A word is loaded once, into a local, then checked, then used: there is no other way to read one.
// 2. Bytes are copied out by `copyOut`, and only the copy is looked at.
// 3. No fences: ThreadSanitizer cannot see them.
// A death at any step leaves what was stored; each structure says what that means.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace baton::shm {

// Two lines of 64 bytes: the prefetcher of x86 takes them in pairs, and lines of 128 bytes exist.
inline constexpr std::size_t kLineBytes = 128;

struct DirectWords {
  template <class T>
  using Atomic = std::atomic<T>;

  template <class T>
  [[gnu::always_inline]] static T load(const std::atomic<T>& word, std::memory_order order) {
    static_assert(std::atomic<T>::is_always_lock_free, "only then it works between processes");
    return word.load(order);
  }
  template <class T>
  [[gnu::always_inline]] static void store(std::atomic<T>& word, T value, std::memory_order order) {
    word.store(value, order);
  }
  template <class T>
  [[gnu::always_inline]] static T exchange(std::atomic<T>& word, T value, std::memory_order order) {
    return word.exchange(value, order);
  }
  template <class T>
  [[gnu::always_inline]] static T fetchOr(std::atomic<T>& word, T bits, std::memory_order order) {
    return word.fetch_or(bits, order);
  }
  // `expected` becomes what was there. A failure has the order relaxed.
  template <class T>
  [[gnu::always_inline]] static bool compareExchange(std::atomic<T>& word, T& expected, T desired,
                                                     std::memory_order order) {
    return word.compare_exchange_strong(expected, desired, order, std::memory_order_relaxed);
  }

  // Eight bytes of a ring, at a multiple of eight. Relaxed: the ring's positions order them.
  [[gnu::always_inline]] static std::uint64_t loadBytes(const std::byte* at) {
    return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at), __ATOMIC_RELAXED);
  }
  [[gnu::always_inline]] static void storeBytes(std::byte* at, std::uint64_t value) {
    __atomic_store_n(reinterpret_cast<std::uint64_t*>(at), value, __ATOMIC_RELAXED);
  }

  // To private memory. The peer may write meanwhile, so that the copy is any mix of old and new, but what is
  // copied stays. The asm statement may, as far as the compiler knows, have changed the copy: it must really
  // be made before, and what is read from it afterwards cannot be read from the source instead.
  [[gnu::always_inline]] static void copyOut(std::byte* to, const std::byte* from, std::size_t sizeBytes) {
    std::memcpy(to, from, sizeBytes);
    asm volatile("" : : "r"(to) : "memory");
  }
};

}  // namespace baton::shm
