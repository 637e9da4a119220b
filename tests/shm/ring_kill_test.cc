// Either side of a ring killed after each of its instructions, or stopped there while the other goes on.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "shm/wake.h"
#include "tests/shm/ring_rig.h"
#include "tests/shm/stepped_child.h"

namespace baton::shm {
namespace {

using Records = std::vector<std::vector<std::byte>>;

struct Memory {
  RingControl control;
  alignas(8) std::array<std::byte, kMinRingBytes> buffer;
  std::array<std::byte, kMinRingBytes> scratch;  // the child's copy of what it read
  WakeWord wake;
};

// A ring at any of its positions, with records in it.
struct Scene {
  Scene(std::size_t skippedBytes, std::size_t waiting) {
    while (producer.position() < skippedBytes) {
      if (!producer.tryPush(payload(0, 240))) std::abort();
      producer.publish();
      static_cast<void>(popAll());
    }
    for (std::size_t i = 0; i < waiting; ++i) push(payload(100 + i, 40));
  }

  void push(const std::vector<std::byte>& bytes) {
    if (!producer.tryPush(bytes)) std::abort();
    producer.publish();
    sent.push_back(bytes);
  }
  Records popAll() {
    Records records;
    while (const auto record = consumer.tryPeek()) {
      records.emplace_back(record->bytes.begin(), record->bytes.end());
      consumer.consume();
    }
    consumer.release();
    return records;
  }

  Shared<Memory> memory;
  RingProducer producer{memory->control, memory->buffer};
  RingConsumer consumer{memory->control, memory->buffer};
  Records sent;
};

// In the middle of the buffer; at its end, where a pad is needed; and with others waiting before it.
struct Place {
  std::size_t skippedBytes;
  std::size_t waiting;
};
constexpr Place kPlaces[] = {{0, 0}, {kMinRingBytes - 100, 0}, {kMinRingBytes - 100, 2}, {1000, 3}};

Records joined(Records first, const Records& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

// Two records at once, then one.
const Records kFirst = {payload(1, 150), payload(2, 9)};
const Records kSecond = {payload(3, 33)};

void pushAll(RingProducer& producer) {
  for (const auto& records : {&kFirst, &kSecond}) {
    for (const auto& record : *records) {
      if (!producer.tryPush(record)) std::abort();
    }
    producer.publish();
  }
}

TEST(RingKill, aProducerLeavesAllOfAPublicationOrNothing) {
  for (const auto& place : kPlaces) {
    std::size_t published = 0;  // publications seen so far; more steps never show fewer
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Scene scene(place.skippedBytes, place.waiting);
      SteppedChild child([&] { pushAll(scene.producer); });
      ended = !child.runTo(trace, instructions);
      child.kill();
      const Records outcomes[] = {scene.sent, joined(scene.sent, kFirst),
                                  joined(joined(scene.sent, kFirst), kSecond)};
      const Records found = scene.popAll();
      const auto* const outcome = std::find(std::begin(outcomes), std::end(outcomes), found);
      ASSERT_NE(outcome, std::end(outcomes)) << "after " << instructions << " instructions";
      const auto now = static_cast<std::size_t>(outcome - outcomes);
      ASSERT_GE(now, published) << "after " << instructions << " instructions";
      published = now;
    }
    EXPECT_EQ(published, 2U);
    EXPECT_GT(instructions, 50U);
  }
}

TEST(RingKill, aStoppedProducerHoldsUpOnlyItsOwnRecords) {
  for (const auto& place : kPlaces) {
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Scene scene(place.skippedBytes, place.waiting);
      SteppedChild child([&] { pushAll(scene.producer); });
      ended = !child.runTo(trace, instructions);
      const Records before = scene.popAll();
      ASSERT_GE(before.size(), scene.sent.size());
      child.finish();
      ASSERT_EQ(joined(before, scene.popAll()), joined(joined(scene.sent, kFirst), kSecond)) << instructions;
    }
  }
}

// The consumer reads two of three and gives them back one by one.
void popTwo(RingConsumer& consumer, Memory& memory) {
  std::size_t at = 0;
  for (int i = 0; i < 2; ++i) {
    const auto record = consumer.tryPeek();
    if (!record) std::abort();
    RingConsumer::copyOut(*record, std::span(memory.scratch).subspan(at, record->bytes.size()));
    at += record->bytes.size();
    consumer.consume();
    consumer.release();
  }
}

TEST(RingKill, whatADeadConsumerDidNotReadIsKnown) {
  for (const std::size_t skipped : {std::size_t{0}, kMinRingBytes - 100, kMinRingBytes - 200}) {
    int readBefore = 0;
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Scene scene(skipped, 0);
      std::vector<std::uint64_t> ends;
      for (std::uint64_t i = 0; i < 3; ++i) {
        scene.push(payload(i, 64));
        ends.push_back(scene.producer.position());
      }
      SteppedChild child([&] { popTwo(scene.consumer, *scene.memory); });
      ended = !child.runTo(trace, instructions);
      child.kill();
      const std::uint64_t passed = scene.producer.passed();
      int read = 0;
      for (const std::uint64_t end : ends) read += end <= passed ? 1 : 0;
      ASSERT_GE(read, readBefore) << instructions;
      readBefore = read;
      // What counts as read was copied before: it is the consumer's, not lost.
      for (int i = 0; i < read; ++i) {
        const auto copy = std::span(scene.memory->scratch).subspan(static_cast<std::size_t>(i) * 64, 64);
        const auto sent = scene.sent[static_cast<std::size_t>(i)];
        ASSERT_TRUE(std::equal(sent.begin(), sent.end(), copy.begin())) << instructions;
      }
      // The producer can use exactly what was given back.
      ASSERT_EQ(scene.producer.freeBytes(), kMinRingBytes - (scene.producer.position() - passed));
    }
    EXPECT_EQ(readBefore, 2);
    EXPECT_GT(instructions, 50U);
  }
}

// The producer dies anywhere between its record and the wake-up: the sleeper sees the record or the end.
TEST(RingKill, aSleeperNeverWaitsForADeadWaker) {
  for (const auto futexTime : {std::chrono::microseconds(0), std::chrono::microseconds(300)}) {
    const auto asleep = futexTime.count() == 0 ? Sleep::inPoll : Sleep::onFutex;
    int ready = 0;
    int gone = 0;
    SteppedChild::Trace trace;
    std::size_t instructions = 0;
    for (bool ended = false; !ended; ++instructions) {
      Scene scene(0, 0);
      auto bells = Doorbell::makePair();
      SteppedChild child(
          [&] {
            if (!scene.producer.tryPush(kSecond[0])) std::abort();
            scene.producer.publish();
            Waker(scene.memory->wake, bells.second).wake();
          },
          [&] { bells.first.release().reset(); });
      bells.second.release().reset();
      Woken woken{};
      bool read = false;
      std::thread sleeper([&] {
        Sleeper sleep(scene.memory->wake, bells.first, {futexTime});
        woken = sleep.wait([&] { return read = scene.consumer.tryPeek().has_value(); }, {}, std::nullopt);
      });
      while (scene.memory->wake.futex().load() != WakeWord::raw(asleep) && futexTime.count() == 0)
        std::this_thread::yield();
      ended = !child.runTo(trace, instructions);
      child.kill();
      sleeper.join();
      ASSERT_EQ(woken == Woken::ready, read) << instructions;
      ASSERT_TRUE(woken == Woken::ready || woken == Woken::peerGone) << instructions;
      ASSERT_FALSE(ended && !read) << "published, so it must have been read";
      ready += read ? 1 : 0;
      gone += read ? 0 : 1;
    }
    EXPECT_GT(ready, 1);
    EXPECT_GT(gone, 1);
  }
}

// The sleeper dies anywhere in its sleep: the waker neither blocks nor fails.
TEST(RingKill, aWakerOfADeadSleeperGoesOn) {
  bool rang = false;
  bool noticed = false;
  SteppedChild::Trace trace;
  std::size_t instructions = 0;
  std::size_t back = 1;
  for (bool ended = false; !ended; ++instructions) {
    Scene scene(0, 0);
    auto bells = Doorbell::makePair();
    SteppedChild child(
        [&] {
          Sleeper sleep(scene.memory->wake, bells.first, {std::chrono::microseconds(0)});
          int looks = 0;
          sleep.wait([&] { return ++looks == 3; }, {}, Clock::now());
        },
        [&] { bells.second.release().reset(); });
    bells.first.release().reset();
    ended = !child.runTo(trace, instructions);
    child.kill();
    if (child.strayed()) {
      // It reads the clock, whose code is not the same each time: traced anew from somewhere before.
      ended = false;
      instructions -= std::min(instructions, back *= 2);
      continue;
    }
    back = 1;
    const bool asleep = scene.memory->wake.futex().load() == WakeWord::raw(Sleep::inPoll);
    const bool here = Waker(scene.memory->wake, bells.second).wake();
    ASSERT_EQ(here, !asleep) << instructions;
    rang = rang || here;
    noticed = noticed || !here;
  }
  EXPECT_TRUE(rang && noticed);
}

}  // namespace
}  // namespace baton::shm
