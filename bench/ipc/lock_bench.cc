// A lock word against a pthread mutex, uncontended; and what neighbouring slots of a lock page cost each
// other.
#include <pthread.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "bench/ipc/benches.h"
#include "bench/ipc/compare.h"
#include "shm/lock_page.h"

namespace baton::bench {
namespace {

using namespace baton::shm;

template <class Operation>
double nsEach(std::uint64_t count, Operation&& operation) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < count; ++i) operation();
  const auto time = std::chrono::steady_clock::now() - begin;
  return std::chrono::duration<double, std::nano>(time).count() / static_cast<double>(count);
}

constexpr std::uint64_t kCount = 3'000'000;

double mutex(int shared) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, shared);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  const double time = nsEach(kCount, [&] {
    pthread_mutex_lock(&mutex);
    pthread_mutex_unlock(&mutex);
  });
  pthread_mutex_destroy(&mutex);
  return time;
}

void takeAndRelease(LockWord& word) {
  if (!word.tryAcquireCached(1) || word.release(1) != Released::kept) std::abort();
}

double lockWord() {
  LockSlot slot;
  slot.word.grant(LockState::idle, 0, 1);
  return nsEach(kCount, [&] { takeAndRelease(slot.word); });
}

double lockWordWithHint() {
  LockSlot slot;
  slot.word.grant(LockState::idle, 0, 1);
  return nsEach(kCount, [&] {
    if (!slot.word.tryAcquireCached(1)) std::abort();
    slot.since.set();
    if (slot.word.release(1) != Released::kept) std::abort();
  });
}

// Two threads, each with a slot of its own, so many bytes apart.
double neighbours(std::size_t apartBytes) {
  alignas(kLineBytes) static std::byte memory[4 * kLineBytes];
  auto* const first = new (memory) LockWord();
  auto* const second = new (memory + apartBytes) LockWord();
  first->grant(LockState::idle, 0, 1);
  second->grant(LockState::idle, 0, 1);
  std::atomic<bool> started{false};
  std::atomic<bool> done{false};
  std::thread other([&] {
    started.store(true);
    while (!done.load(std::memory_order_relaxed)) takeAndRelease(*second);
  });
  while (!started.load()) std::this_thread::yield();
  const double time = nsEach(kCount, [&] { takeAndRelease(*first); });
  done.store(true);
  other.join();
  return time;
}

}  // namespace

void lockBench() {
  // A private mutex of a process that never had a second thread is not locked at all.
  std::thread([] {}).join();
  compare("lock and unlock, nobody else",
          {{"pthread mutex", [] { return mutex(PTHREAD_PROCESS_PRIVATE); }},
           {"pthread mutex, shared", [] { return mutex(PTHREAD_PROCESS_SHARED); }},
           {"lock word", lockWord},
           {"lock word with its time", lockWordWithHint}});
  compare("lock and unlock, a neighbour busy", {{"128 bytes apart", [] { return neighbours(128); }},
                                                {"64 bytes apart", [] { return neighbours(64); }},
                                                {"16 bytes apart", [] { return neighbours(16); }}});
}

}  // namespace baton::bench
