#include "shm/ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "tests/shm/ring_rig.h"

namespace baton::shm {
namespace {

TEST(Ring, anythingElseThanAPowerOfTwoIsNone) {
  RingControl control;
  std::vector<std::uint64_t> words(8192);
  const auto bytes = std::as_writable_bytes(std::span(words));
  for (const std::size_t size : {0, 8, 2048, 4095, 4097, 6144, 12288}) {
    EXPECT_THROW(RingProducer(control, bytes.first(size)), std::invalid_argument) << size;
    EXPECT_THROW(RingConsumer(control, bytes.first(size)), std::invalid_argument) << size;
  }
  EXPECT_THROW(RingProducer(control, bytes.subspan(4, 4096)), std::invalid_argument);
  EXPECT_NO_THROW(RingProducer(control, bytes.first(4096)));
}

TEST(Ring, carriesRecordsOfEverySizeInOrder) {
  RingRig rig;
  for (std::size_t size = 0; size <= rig.producer.maxRecord(); ++size) {
    ASSERT_TRUE(rig.push(payload(size, size))) << size;
    ASSERT_EQ(rig.pop(), payload(size, size)) << size;
    ASSERT_EQ(rig.pop(), std::nullopt);
  }
}

TEST(Ring, holdsTheLargestRecordWhereverItsPositionsStand) {
  for (std::size_t step = 0; step < kMinRingBytes / kRingAlignment; ++step) {
    RingRig rig;
    for (std::size_t i = 0; i < step; ++i) {
      ASSERT_TRUE(rig.push({}));
      ASSERT_TRUE(rig.pop());
    }
    const auto largest = payload(step, rig.producer.maxRecord());
    ASSERT_TRUE(rig.push(largest)) << step;
    ASSERT_EQ(rig.pop(), largest) << step;
  }
}

TEST(Ring, refusesWhatARecordCannotHold) {
  RingRig rig;
  EXPECT_THROW(static_cast<void>(rig.producer.tryReserve(rig.producer.maxRecord() + 1)), std::length_error);
  EXPECT_THROW(static_cast<void>(rig.producer.tryReserve(SIZE_MAX)), std::length_error);
  EXPECT_THROW(rig.producer.commit(0), std::length_error) << "nothing was reserved";
  ASSERT_TRUE(rig.producer.tryReserve(8));
  EXPECT_THROW(rig.producer.commit(9), std::length_error);
  EXPECT_NO_THROW(rig.producer.commit(8));
  EXPECT_THROW(rig.producer.commit(8), std::length_error) << "committed already";
}

TEST(Ring, aRecordIsThereFromItsPublication) {
  RingRig rig;
  ASSERT_TRUE(rig.producer.tryPush(payload(1, 10)));
  ASSERT_TRUE(rig.producer.tryPush(payload(2, 20)));
  EXPECT_TRUE(rig.producer.hasUnpublished());
  EXPECT_EQ(rig.pop(), std::nullopt);
  rig.producer.publish();
  EXPECT_FALSE(rig.producer.hasUnpublished());
  EXPECT_EQ(rig.pop(), payload(1, 10));
  EXPECT_EQ(rig.pop(), payload(2, 20));
}

TEST(Ring, aReservationThatIsNotCommittedIsNothing) {
  RingRig rig;
  ASSERT_TRUE(rig.producer.tryReserve(1000));
  rig.producer.publish();
  EXPECT_EQ(rig.pop(), std::nullopt);
  ASSERT_TRUE(rig.push(payload(1, 5)));
  EXPECT_EQ(rig.pop(), payload(1, 5));
}

TEST(Ring, commitsLessThanWasReserved) {
  RingRig rig;
  const auto bytes = payload(1, 11);
  for (int i = 0; i < 1000; ++i) {
    const auto room = rig.producer.tryReserve(1500);
    ASSERT_TRUE(room);
    ASSERT_EQ(room->size(), 1500U);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(room->data()) % 8, 0U);
    std::copy(bytes.begin(), bytes.end(), room->begin());
    rig.producer.commit(bytes.size());
    rig.producer.publish();
    ASSERT_EQ(rig.pop(), bytes) << i;
  }
}

TEST(Ring, saysThatMoreFollows) {
  RingRig rig;
  ASSERT_TRUE(rig.producer.tryPush(payload(1, 9), true));
  ASSERT_TRUE(rig.producer.tryPush(payload(2, 9)));
  rig.producer.publish();
  EXPECT_TRUE(rig.consumer.tryPeek()->more);
  rig.consumer.consume();
  EXPECT_FALSE(rig.consumer.tryPeek()->more);
}

TEST(Ring, isFullUntilItsRecordsAreReleased) {
  RingRig rig;
  std::uint64_t pushed = 0;
  while (rig.push(payload(pushed, 56))) ++pushed;
  EXPECT_EQ(pushed, kMinRingBytes / 64);
  EXPECT_EQ(rig.producer.freeBytes(), 0U);
  for (std::uint64_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(rig.consumer.tryPeek());
    rig.consumer.consume();
  }
  EXPECT_EQ(rig.consumer.unreleased(), 3U * 64);
  EXPECT_FALSE(rig.push(payload(0, 0))) << "consumed, not released: the bytes may still be looked at";
  rig.consumer.release();
  EXPECT_EQ(rig.producer.freeBytes(), 3U * 64);
  EXPECT_TRUE(rig.push(payload(0, 184)));
  EXPECT_FALSE(rig.push({}));
}

TEST(Ring, whatWasPeekedIsPeekedAgain) {
  RingRig rig;
  ASSERT_TRUE(rig.push(payload(1, 30)));
  ASSERT_TRUE(rig.push(payload(2, 40)));
  const auto first = rig.consumer.tryPeek();
  EXPECT_EQ(rig.consumer.tryPeek()->bytes.data(), first->bytes.data());
  rig.consumer.consume();
  rig.consumer.consume();  // nothing was peeked since: nothing is done
  EXPECT_EQ(rig.pop(), payload(2, 40));
}

TEST(Ring, theProducerKnowsWhatWasRead) {
  RingRig rig;
  std::deque<std::uint64_t> ends;
  Dice dice(7);
  std::uint64_t read = 0;
  std::uint64_t pushed = 0;
  for (int turn = 0; turn < 20000; ++turn) {
    if (dice.below(2) == 0) {
      if (rig.push(payload(pushed, dice.below(700)))) {
        ends.push_back(rig.producer.position());
        ++pushed;
      }
    } else if (rig.pop()) {
      ++read;
    }
    std::uint64_t passed = 0;
    for (const std::uint64_t end : ends) passed += end <= rig.producer.passed() ? 1 : 0;
    ASSERT_EQ(pushed - ends.size() + passed, read);
    while (ends.size() > 8 && ends.front() <= rig.producer.passed()) ends.pop_front();
  }
}

TEST(Ring, agreesWithAQueueInEveryOrder) {
  for (const std::size_t capacity : {std::size_t{4096}, std::size_t{16384}}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      RingRig rig(capacity);
      Dice dice(seed);
      std::deque<std::vector<std::byte>> committed;
      std::size_t published = 0;  // of `committed`
      for (std::uint64_t turn = 0; turn < 5000; ++turn) {
        switch (dice.below(5)) {
          case 0:
          case 1: {
            const auto bytes = payload(turn, dice.below(dice.below(4) == 0 ? capacity / 2 - 7 : 100));
            if (rig.producer.tryPush(bytes)) committed.push_back(bytes);
            break;
          }
          case 2:
            rig.producer.publish();
            published = committed.size();
            break;
          default: {
            const auto popped = rig.pop();
            ASSERT_EQ(popped.has_value(), published > 0);
            if (!popped) break;
            ASSERT_EQ(*popped, committed.front());
            committed.pop_front();
            --published;
          }
        }
      }
    }
  }
}

// Also for ThreadSanitizer.
TEST(Ring, carriesBetweenThreads) {
  constexpr std::uint64_t kRecords = 20000;
  RingRig rig;
  std::thread producer([&] {
    Dice dice(3);
    for (std::uint64_t i = 0; i < kRecords; ++i) {
      const auto bytes = payload(i, dice.below(300));
      while (!rig.producer.tryPush(bytes)) {
        rig.producer.publish();
        std::this_thread::yield();
      }
      if (dice.below(4) == 0) rig.producer.publish();
    }
    rig.producer.publish();
  });
  Dice dice(3);
  for (std::uint64_t i = 0; i < kRecords; ++i) {
    const auto expected = payload(i, dice.below(300));
    static_cast<void>(dice.below(4));
    std::optional<RingRecord> record;
    while (!(record = rig.consumer.tryPeek())) {
      rig.consumer.release();
      std::this_thread::yield();
    }
    std::vector<std::byte> copy(record->bytes.size());
    RingConsumer::copyOut(*record, copy);
    if (copy != expected) ADD_FAILURE() << "record " << i;
    rig.consumer.consume();
    if (rig.consumer.shouldRelease()) rig.consumer.release();
  }
  producer.join();
}

}  // namespace
}  // namespace baton::shm
