// Sleeping and waking: no wake-up is lost. A lost one leaves the sleeper asleep when all others have ended,
// which the checker reports as a deadlock: the time-outs that hide it in the programs are not here.
#include "tests/model/relacy_words.h"

#include "shm/ring_positions.h"
#include "shm/wake_word.h"

namespace baton::model {
namespace {

using shm::BasicRingControl;
using shm::BasicWakeWord;
using shm::ConsumerPosition;
using shm::kRingAlignment;
using shm::ProducerPosition;
using shm::Sleep;

constexpr unsigned kCapacity = 2 * kRingAlignment;
constexpr unsigned kSent = 3;

// One side's sleep, and how the other wakes it: what Sleeper and Waker do, with the kernel as in
// relacy_words.h.
template <class Words>
class Sleeping {
 public:
  template <class Ready>
  void wait(Ready ready) {
    while (!ready()) {
      // The time on the futex may end at any moment; then it sleeps in poll.
      const bool onFutex = rl::rand(2) == 0;
      word_.prepare(onFutex ? Sleep::onFutex : Sleep::inPoll);
      if (!ready()) {
        if (onFutex) {
          futex_.wait(word_.futex(), BasicWakeWord<Words>::raw(Sleep::onFutex));
        } else {
          bell_.await();
        }
      }
      word_.cancel();
    }
  }

  void wake() {
    switch (word_.claim()) {
      case Sleep::onFutex:
        futex_.wake();
        break;
      case Sleep::inPoll:
        bell_.ring();
        break;
      case Sleep::awake:
        break;
    }
  }

 private:
  BasicWakeWord<Words> word_;
  RelacyFutex futex_;
  RelacyBell bell_;
};

// A producer that sleeps for room, and a consumer that sleeps for data.
template <Weakened weakened>
struct RingSleepModel : rl::test_suite<RingSleepModel<weakened>, 2> {
  using Words = RelacyWords<weakened>;

  BasicRingControl<Words> control;
  Sleeping<Words> producerSleep;
  Sleeping<Words> consumerSleep;

  void thread(unsigned index) {
    if (index == 0) {
      ProducerPosition<Words> position(control, kCapacity);
      for (unsigned i = 0; i < kSent; ++i) {
        producerSleep.wait([&] { return position.hasRoom(kRingAlignment); });
        position.advance(kRingAlignment);
        position.publish();
        consumerSleep.wake();
      }
    } else {
      ConsumerPosition<Words> position(control, kCapacity);
      for (unsigned i = 0; i < kSent; ++i) {
        consumerSleep.wait([&] { return position.available() != 0; });
        position.advance(kRingAlignment);
        position.release();
        producerSleep.wake();
      }
    }
  }
};

// Two wakers of one sleeper that waits for both, as a connection's data and room are waited for with one
// word.
template <Weakened weakened>
struct TwoWakersModel : rl::test_suite<TwoWakersModel<weakened>, 3> {
  using Words = RelacyWords<weakened>;

  BasicRingControl<Words> controls[2];
  Sleeping<Words> sleep;

  void thread(unsigned index) {
    if (index < 2) {
      ProducerPosition<Words> position(controls[index], kCapacity);
      position.advance(kRingAlignment);
      position.publish();
      sleep.wake();
    } else {
      ConsumerPosition<Words> first(controls[0], kCapacity);
      ConsumerPosition<Words> second(controls[1], kCapacity);
      sleep.wait([&] { return first.available() != 0; });
      sleep.wait([&] { return second.available() != 0; });
    }
  }
};

constexpr rl::iteration_t kSchedules = 200000;

TEST(WakeModel, losesNoWakeUp) {
  EXPECT_EQ(check<RingSleepModel<Weakened::nothing>>(atRandom(kSchedules)), "");
  EXPECT_EQ(check<RingSleepModel<Weakened::nothing>>(allWithPreemptions(3)), "");
  EXPECT_EQ(check<TwoWakersModel<Weakened::nothing>>(atRandom(kSchedules)), "");
  EXPECT_EQ(check<TwoWakersModel<Weakened::nothing>>(allWithPreemptions(3)), "");
}

TEST(WakeModel, findsWeakerOrders) {
  EXPECT_NE(check<RingSleepModel<Weakened::positionStore>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<RingSleepModel<Weakened::positionLoad>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<RingSleepModel<Weakened::wakePrepare>>(atRandom(kSchedules)), "");
  EXPECT_NE(check<RingSleepModel<Weakened::wakeLoad>>(atRandom(kSchedules)), "");
}

}  // namespace
}  // namespace baton::model
