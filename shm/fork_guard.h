// Tells an object whether it was made before a fork: then it is dead here, in the child. Any thread.
//
// Every library object holds a ForkGuard and asks `inChild` first, at each entry point and in its destructor.
// In the child an object throws or does nothing; it closes its descriptors and unmaps nothing: its mappings
// are not there (MADV_DONTFORK), and what is at their address by now belongs to somebody else.
//
// Invariants
// 1. The word is in a page that the kernel wipes at fork (MADV_WIPEONFORK): no handler runs, so it holds for
//    fork(2), for a raw clone, and for a fork while other threads are in the middle of anything.
// 2. A process's word is never one that an ancestor had: it is drawn from a counter that the child inherits.
// So
//    objects that the child makes for itself live, and are dead again in its own children.
// A death at any step leaves nothing: the word is the process's own.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::shm {

class ForkGuard {
 public:
  // Throws std::system_error if the kernel cannot wipe pages (before Linux 4.14).
  ForkGuard() : word_(processWord()), made_(current(*word_)) {}

  // One load. True: this process was forked since the guard was made.
  bool inChild() const { return word_->load(std::memory_order_relaxed) != made_; }

 private:
  using Word = std::atomic<std::uint64_t>;

  static const Word* processWord();
  static std::uint64_t current(const Word& word);

  const Word* word_;
  std::uint64_t made_;
};

}  // namespace baton::shm
