// A client killed after each instruction of taking and releasing a lock, or stopped there while the daemon
// recalls.
#include <gtest/gtest.h>

#include <atomic>

#include "shm/lock_word.h"
#include "tests/shm/stepped_child.h"

namespace baton::shm {
namespace {

constexpr ThreadIndex kThread = 6;
constexpr std::uint32_t kSequence = 9;

struct Memory {
  LockWord word;
  std::atomic<bool> inside{false};
  std::atomic<bool> wasInside{false};
  std::atomic<bool> returned{false};  // the message to the daemon
};

// What a client's thread does, once.
void takeAndRelease(Memory& memory) {
  if (!memory.word.tryAcquireCached(kThread) && !memory.word.takeGrant(kThread)) return;
  memory.inside.store(true);
  memory.wasInside.store(true);
  memory.inside.store(false);
  if (memory.word.release(kThread) == Released::returnIt) memory.returned.store(true);
}

// What the daemon would say of the next owner: abandoned, or clean.
bool wouldBeAbandoned(const LockWord& word) {
  return word.inspect().state == LockState::held;
}

struct Case {
  LockState granted;
  bool recalled;  // before the client begins
};
constexpr Case kCases[] = {{LockState::idle, false}, {LockState::granted, false}, {LockState::granted, true}};

void setUp(Memory& memory, const Case& test) {
  memory.word.grant(test.granted, kThread, kSequence);
  if (test.recalled) static_cast<void>(memory.word.recall());
}

TEST(LockKill, aHolderIsNeverCleanAndOthersAlwaysAre) {
  for (const auto& test : kCases) {
    int abandoned = 0;
    int cleanBefore = 0;
    int cleanAfter = 0;
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Shared<Memory> memory;
      setUp(*memory, test);
      SteppedChild child([&] { takeAndRelease(*memory); });
      ended = !child.runTo(trace, instructions);
      child.kill();
      const LockView view = memory->word.inspect();
      ASSERT_EQ(view.sequence, kSequence) << instructions;
      if (wouldBeAbandoned(memory->word)) {
        ++abandoned;
        ASSERT_EQ(view.thread, kThread);
        ASSERT_FALSE(memory->returned.load());
      } else {
        ASSERT_FALSE(memory->inside.load()) << "killed inside and called clean, after " << instructions;
        ++(memory->wasInside.load() ? cleanAfter : cleanBefore);
      }
      // A word that is not held is the daemon's again at once.
      const bool back = memory->word.recall() == Recalled::takenBack || memory->word.takeBackGrant();
      ASSERT_EQ(back, view.state != LockState::held) << instructions;
    }
    EXPECT_GT(cleanBefore, 0);
    EXPECT_GT(abandoned, 0);
    EXPECT_GT(cleanAfter, 0);
  }
}

// What the daemon takes back at any instruction of the client, the client cannot be in; what it cannot take
// back returns.
TEST(LockKill, aRecallAtAnyInstructionTakesItBackOrIsAnswered) {
  for (const auto& test : kCases) {
    int takenBefore = 0;
    int takenAfter = 0;
    int answered = 0;
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Shared<Memory> memory;
      setUp(*memory, test);
      SteppedChild child([&] { takeAndRelease(*memory); });
      ended = !child.runTo(trace, instructions);
      const bool wasInside = memory->wasInside.load();
      const Recalled recalled = memory->word.recall();
      if (recalled == Recalled::takenBack ||
          (recalled == Recalled::granted && memory->word.takeBackGrant())) {
        ASSERT_FALSE(memory->inside.load()) << instructions;
        // Somebody else has it now; the client finds that out by itself.
        child.finish();
        ASSERT_EQ(memory->wasInside.load(), wasInside)
            << "went in after it was taken back, at " << instructions;
        ++(wasInside ? takenAfter : takenBefore);
      } else {
        ASSERT_EQ(recalled, Recalled::held) << instructions;
        child.finish();
        ASSERT_TRUE(memory->returned.load()) << "a recall was forgotten, at " << instructions;
        ASSERT_EQ(memory->word.inspect(), (LockView{LockState::none, false, false, 0, kSequence}));
        ++answered;
      }
    }
    EXPECT_GT(takenBefore, 0);
    EXPECT_GT(answered, 0);
    EXPECT_GT(takenAfter, 0);
  }
}

// The client loses its daemon while one of its threads is anywhere.
TEST(LockKill, lostAtAnyInstructionNobodyGoesInAfterwards) {
  int held = 0;
  int free = 0;
  SteppedChild::Trace trace;
  std::size_t instructions = 0;
  for (bool ended = false; !ended; ++instructions) {
    Shared<Memory> memory;
    setUp(*memory, {LockState::idle, false});
    SteppedChild child([&] { takeAndRelease(*memory); });
    ended = !child.runTo(trace, instructions);
    const bool wasInside = memory->wasInside.load();
    if (memory->word.markLost()) {
      ++held;
      child.finish();
      ASSERT_EQ(memory->word.release(kThread), Released::notHeld) << "it has released, at " << instructions;
    } else {
      ++free;
      ASSERT_FALSE(memory->inside.load());
      child.finish();
      ASSERT_EQ(memory->wasInside.load(), wasInside) << instructions;
    }
    ASSERT_FALSE(memory->word.tryAcquireCached(kThread));
  }
  EXPECT_GT(held, 0);
  EXPECT_GT(free, 0);
}

// The daemon dies while it delegates or recalls: the client's word is one of those that the client knows.
TEST(LockKill, aDaemonLeavesAWordThatMeansSomething) {
  SteppedChild::Trace trace;
  std::size_t instructions = 0;
  int usable = 0;
  for (bool ended = false; !ended; ++instructions) {
    Shared<Memory> memory;
    SteppedChild daemon([&] {
      memory->word.grant(LockState::idle, 0, kSequence);
      static_cast<void>(memory->word.recall());
    });
    ended = !daemon.runTo(trace, instructions);
    daemon.kill();
    const LockView view = memory->word.inspect();
    ASSERT_TRUE(view.state == LockState::none || view.state == LockState::idle) << instructions;
    if (memory->word.tryAcquireCached(kThread)) {
      ++usable;
      ASSERT_EQ(view, (LockView{LockState::idle, false, false, 0, kSequence}));
      ASSERT_EQ(memory->word.release(kThread), Released::kept);
    }
    ASSERT_FALSE(memory->word.markLost());
  }
  EXPECT_GT(usable, 0);
}

}  // namespace
}  // namespace baton::shm
