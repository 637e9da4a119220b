// The positions of a ring: bytes are handed over without a race and in order, wherever the two sides are.
#include "tests/model/relacy_words.h"

#include "shm/ring_positions.h"

namespace baton::model {
namespace {

using shm::BasicRingControl;
using shm::ConsumerPosition;
using shm::kRingAlignment;
using shm::ProducerPosition;

// A ring of two units, through which four pass, so that each is used again; the units are what a record is
// in.
template <Weakened weakened>
struct RingModel : rl::test_suite<RingModel<weakened>, 2> {
  using Words = RelacyWords<weakened>;
  static constexpr unsigned kUnits = 2;
  static constexpr unsigned kSent = 4;

  BasicRingControl<Words> control;
  rl::var<unsigned> units[kUnits];

  void thread(unsigned index) {
    if (index == 0) {
      produce();
    } else {
      consume();
    }
  }

  void produce() {
    ProducerPosition<Words> position(control, kUnits * kRingAlignment);
    rl::linear_backoff backoff;
    for (unsigned i = 1; i <= kSent; ++i) {
      while (!position.hasRoom(kRingAlignment)) {
        position.publish();
        backoff.yield(RL_INFO);
      }
      units[position.written() / kRingAlignment % kUnits](RL_INFO) = i;
      position.advance(kRingAlignment);
      // Sometimes two at once.
      if (rl::rand(2) != 0) position.publish();
    }
    position.publish();
  }

  void consume() {
    ConsumerPosition<Words> position(control, kUnits * kRingAlignment);
    rl::linear_backoff backoff;
    for (unsigned i = 1; i <= kSent; ++i) {
      while (position.available() == 0) {
        position.release();
        backoff.yield(RL_INFO);
      }
      const unsigned got = units[position.read() / kRingAlignment % kUnits](RL_INFO).load();
      RL_ASSERT(got == i);
      position.advance(kRingAlignment);
      if (rl::rand(2) != 0) position.release();
    }
  }
};

TEST(RingModel, handsOverWithoutARace) {
  EXPECT_EQ(check<RingModel<Weakened::nothing>>(atRandom(100000)), "");
  EXPECT_EQ(check<RingModel<Weakened::nothing>>(allWithPreemptions(3)), "");
}

TEST(RingModel, findsWeakerOrders) {
  EXPECT_NE(check<RingModel<Weakened::producerStore>>(atRandom(100000)), "");
  EXPECT_NE(check<RingModel<Weakened::producerLoad>>(atRandom(100000)), "");
  EXPECT_NE(check<RingModel<Weakened::consumerStore>>(atRandom(100000)), "");
  EXPECT_NE(check<RingModel<Weakened::consumerLoad>>(atRandom(100000)), "");
}

}  // namespace
}  // namespace baton::model
