// The lock word: never two inside, and each sees what the one before wrote, whoever of daemon and clients is
// where.
#include "tests/model/relacy_words.h"

#include "shm/lock_word.h"

namespace baton::model {
namespace {

using shm::BasicLockWord;
using shm::LockState;
using shm::Recalled;
using shm::Released;
using shm::ThreadIndex;

// A client of two threads and one of one thread; the daemon delegates the lock to the first, then moves it to
// the second, and so on. Returns go over a ring, which is a release and an acquire.
template <Weakened weakened>
struct LockModel : rl::test_suite<LockModel<weakened>, 4> {
  using Words = RelacyWords<weakened>;
  static constexpr unsigned kGrants = 3;
  static constexpr unsigned kTries = 2;

  BasicLockWord<Words> words[2];
  rl::atomic<unsigned> returned[kGrants];
  rl::var<unsigned> guarded;
  // Relacy's own var finds a race only; this one two threads inside, whatever they have seen of each other.
  unsigned inside = 0;

  void before() {
    for (auto& flag : returned) flag.store(0, rl::mo_relaxed, RL_INFO);
    guarded(RL_INFO) = 0;
  }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        daemon();
        break;
      case 1:
        client(words[0], 1);
        break;
      case 2:
        client(words[0], 2);
        break;
      default:
        client(words[1], 1);
    }
  }

  void client(BasicLockWord<Words>& word, ThreadIndex thread) {
    for (unsigned i = 0; i < kTries; ++i) {
      if (!word.tryAcquireCached(thread) && !word.takeGrant(thread)) continue;
      RL_ASSERT(++inside == 1);
      guarded(RL_INFO) = guarded(RL_INFO).load() + 1;
      --inside;
      const auto sequence = word.inspect().sequence;
      if (word.release(thread) == Released::returnIt) returned[sequence].store(1, rl::mo_release, RL_INFO);
    }
  }

  void daemon() {
    for (unsigned grant = 0; grant < kGrants; ++grant) {
      auto& word = words[grant % 2];
      word.grant(rl::rand(2) == 0 ? LockState::idle : LockState::granted, 1, grant);
      const auto recalled = word.recall();
      if (recalled == Recalled::takenBack) continue;
      if (recalled == Recalled::granted && word.takeBackGrant()) continue;
      rl::linear_backoff backoff;
      while (returned[grant].load(rl::mo_acquire, RL_INFO) == 0) {
        if (word.takeBackGrant()) break;
        backoff.yield(RL_INFO);
      }
    }
    // Nobody has it, so the daemon might as well be inside.
    RL_ASSERT(++inside == 1);
    guarded(RL_INFO) = 0;
    --inside;
  }
};

constexpr rl::iteration_t kSchedules = 300000;

TEST(LockModel, excludesAndOrders) {
  EXPECT_EQ(check<LockModel<Weakened::nothing>>(atRandom(kSchedules)), "");
  EXPECT_EQ(check<LockModel<Weakened::nothing>>(allWithPreemptions(1)), "");
}

TEST(LockModel, findsWeakerOrders) {
  EXPECT_NE(check<LockModel<Weakened::lockTake>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<LockModel<Weakened::lockRelease>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<LockModel<Weakened::lockRecall>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<LockModel<Weakened::lockGrant>>(atRandom(kSchedules)), "");
}

}  // namespace
}  // namespace baton::model
