#include "shm/lock_word.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "shm/lock_page.h"

namespace baton::shm {
namespace {

constexpr ThreadIndex kAnna = 3;
constexpr ThreadIndex kBert = 4;

TEST(LockWord, hasRoomForItsFields) {
  for (const auto state : {LockState::none, LockState::idle, LockState::granted, LockState::held}) {
    for (const int bits : {0, 1, 2, 3}) {
      const LockView view{state, (bits & 1) != 0, (bits & 2) != 0, kMaxThreadIndex - 1, 0xfeedbee1};
      EXPECT_EQ(unpackLock(packLock(view)), view);
    }
  }
  EXPECT_EQ(packLock({}), 0U) << "new memory is zeros";
  for (std::uint64_t state = 4; state < 64; ++state) EXPECT_EQ(unpackLock(state).state, LockState::held);
}

TEST(LockWord, isNotThereBeforeItIsDelegated) {
  LockWord word;
  EXPECT_FALSE(word.tryAcquireCached(kAnna));
  EXPECT_FALSE(word.takeGrant(kAnna));
  EXPECT_EQ(word.release(kAnna), Released::notHeld);
  EXPECT_EQ(word.inspect(), LockView{});
}

TEST(LockWord, idleIsTakenAndReleasedByTheClientAlone) {
  LockWord word;
  word.grant(LockState::idle, 0, 17);
  for (const ThreadIndex thread : {kAnna, kBert, kMaxThreadIndex}) {
    ASSERT_TRUE(word.tryAcquireCached(thread));
    EXPECT_EQ(word.inspect(), (LockView{LockState::held, false, false, thread, 17}));
    EXPECT_FALSE(word.tryAcquireCached(thread)) << "nobody twice";
    EXPECT_FALSE(word.tryAcquireCached(thread - 1));
    EXPECT_EQ(word.release(thread - 1), Released::notHeld) << "only by who holds it";
    EXPECT_EQ(word.release(thread), Released::kept);
    EXPECT_EQ(word.inspect(), (LockView{LockState::idle, false, false, 0, 17}));
    EXPECT_EQ(word.release(thread), Released::notHeld) << "not twice";
  }
}

TEST(LockWord, aGrantIsTakenByItsThreadAlone) {
  LockWord word;
  word.grant(LockState::granted, kAnna, 5);
  EXPECT_FALSE(word.tryAcquireCached(kAnna));
  EXPECT_FALSE(word.takeGrant(kBert));
  EXPECT_EQ(word.release(kAnna), Released::notHeld);
  EXPECT_TRUE(word.takeGrant(kAnna));
  EXPECT_FALSE(word.takeGrant(kAnna));
  EXPECT_EQ(word.inspect(), (LockView{LockState::held, false, false, kAnna, 5}));
  EXPECT_EQ(word.release(kAnna), Released::kept);
}

TEST(LockWord, idleIsTakenBackAtOnce) {
  LockWord word;
  EXPECT_EQ(word.recall(), Recalled::takenBack) << "it was not delegated";
  word.grant(LockState::idle, 0, 5);
  EXPECT_EQ(word.recall(), Recalled::takenBack);
  EXPECT_EQ(word.inspect().state, LockState::none);
  EXPECT_FALSE(word.tryAcquireCached(kAnna));
  word.grant(LockState::idle, 0, 6);
  EXPECT_TRUE(word.tryAcquireCached(kAnna));
}

TEST(LockWord, heldComesBackWithItsRelease) {
  LockWord word;
  word.grant(LockState::idle, 0, 5);
  ASSERT_TRUE(word.tryAcquireCached(kAnna));
  EXPECT_EQ(word.recall(), Recalled::held);
  EXPECT_EQ(word.recall(), Recalled::held) << "asked again";
  EXPECT_EQ(word.inspect(), (LockView{LockState::held, true, false, kAnna, 5}));
  EXPECT_FALSE(word.takeBackGrant());
  EXPECT_EQ(word.release(kAnna), Released::returnIt);
  EXPECT_EQ(word.inspect(), (LockView{LockState::none, false, false, 0, 5}));
  EXPECT_FALSE(word.tryAcquireCached(kAnna));
  EXPECT_EQ(word.recall(), Recalled::takenBack);
}

TEST(LockWord, aGrantMayBeTakenThoughItIsRecalled) {
  LockWord word;
  word.grant(LockState::granted, kAnna, 5);
  EXPECT_EQ(word.recall(), Recalled::granted);
  EXPECT_TRUE(word.takeGrant(kAnna));
  EXPECT_EQ(word.release(kAnna), Released::returnIt);
}

TEST(LockWord, aGrantThatIsNotTakenUpIsTakenBack) {
  for (const bool recalled : {false, true}) {
    LockWord word;
    EXPECT_FALSE(word.takeBackGrant());
    word.grant(LockState::granted, kAnna, 5);
    if (recalled) {
      EXPECT_EQ(word.recall(), Recalled::granted);
    }
    EXPECT_TRUE(word.takeBackGrant());
    EXPECT_FALSE(word.takeGrant(kAnna));
    EXPECT_EQ(word.inspect(), (LockView{LockState::none, false, false, 0, 5}));
  }
}

TEST(LockWord, lostIsLostFromTheNextStep) {
  LockWord idle;
  idle.grant(LockState::idle, 0, 5);
  EXPECT_FALSE(idle.markLost());
  EXPECT_FALSE(idle.tryAcquireCached(kAnna));

  LockWord granted;
  granted.grant(LockState::granted, kAnna, 5);
  EXPECT_FALSE(granted.markLost());
  EXPECT_FALSE(granted.takeGrant(kAnna));

  LockWord held;
  held.grant(LockState::idle, 0, 5);
  ASSERT_TRUE(held.tryAcquireCached(kAnna));
  EXPECT_TRUE(held.markLost());
  EXPECT_EQ(held.release(kAnna), Released::lost);
  EXPECT_EQ(held.release(kAnna), Released::notHeld);
  EXPECT_FALSE(held.tryAcquireCached(kAnna));
}

TEST(LockWord, whatIsNoStateCountsAsHeld) {
  for (std::uint64_t state = 4; state < 64; ++state) {
    LockWord word;
    // As a hostile client writes it.
    *reinterpret_cast<std::uint64_t*>(&word) = state;
    EXPECT_EQ(word.inspect().state, LockState::held);
    EXPECT_EQ(word.recall(), Recalled::held);
    EXPECT_FALSE(word.takeBackGrant());
  }
}

TEST(LockPage, beginsEmpty) {
  LockPage page{};
  for (auto& slot : page.slots) {
    EXPECT_EQ(slot.word.inspect().state, LockState::none);
    EXPECT_EQ(slot.since.get().count(), 0);
  }
  page.slots[1].since.set();
  const auto age = std::chrono::steady_clock::now().time_since_epoch() - page.slots[1].since.get();
  EXPECT_GE(age.count(), 0);
  EXPECT_EQ(page.slots[0].since.get().count(), 0);
}

// A daemon that hands one lock round among clients of two threads each; all of them count what nothing but
// the lock guards. Also for ThreadSanitizer.
TEST(LockWord, excludesThreadsAndClients) {
  constexpr std::size_t kClients = 2;
  constexpr std::uint32_t kRounds = 2000;
  std::vector<LockWord> words(kClients);
  std::vector<std::atomic<bool>> returned(kRounds);  // by sequence: a return may come late
  std::atomic<bool> done{false};
  std::uint64_t inside = 0;
  std::uint64_t counter = 0;
  std::atomic<std::uint64_t> counted{0};

  const auto client = [&](std::size_t which, ThreadIndex thread) {
    LockWord& word = words[which];
    while (!done.load()) {
      if (!word.tryAcquireCached(thread) && !word.takeGrant(thread)) {
        std::this_thread::yield();
        continue;
      }
      if (++inside != 1) ADD_FAILURE() << "two inside";
      ++counter;
      --inside;
      counted.fetch_add(1, std::memory_order_relaxed);
      const std::uint32_t sequence = word.inspect().sequence;
      if (word.release(thread) == Released::returnIt) returned[sequence].store(true);
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t which = 0; which < kClients; ++which) {
    for (ThreadIndex thread = 0; thread < 2; ++thread) threads.emplace_back(client, which, thread);
  }
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    LockWord& word = words[round % kClients];
    word.grant(round % 2 == 0 ? LockState::idle : LockState::granted, round / 2 % 2, round);
    // Until somebody has been inside at all: threads may begin late.
    while (round == 0 && counted.load() == 0) std::this_thread::yield();
    if (round % 5 == 0) std::this_thread::yield();
    if (round % 7 == 0 && word.takeBackGrant()) continue;
    if (word.recall() == Recalled::takenBack) continue;
    while (!returned[round].load()) {
      if (word.takeBackGrant()) break;
      std::this_thread::yield();
    }
  }
  done.store(true);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter, counted.load());
  EXPECT_GT(counter, 0U);
}

}  // namespace
}  // namespace baton::shm
