// A bare ring between two processes, and a ring with its wake-ups, against an OS pipe.
#include <fcntl.h>
#include <sched.h>

#include <cstring>
#include <vector>

#include "bench/ipc/benches.h"
#include "bench/ipc/compare.h"
#include "bench/ipc/two_processes.h"
#include "shm/duplex.h"
#include "shm/memfd.h"
#include "shm/wake.h"

namespace baton::bench {
namespace {

using namespace baton::shm;

// What a pipe's ring has.
constexpr std::size_t kRingBytes = std::size_t{1} << 20;
constexpr DuplexSizes kSizes{kRingBytes, kRingBytes, false};
// Looks before a side gives its processor away: on two cores the other may be waiting for this one.
constexpr int kSpins = 200;

class Backoff {
 public:
  void again() {
    if (++looks_ % kSpins == 0) ::sched_yield();
  }

 private:
  int looks_ = 0;
};

// Each process maps the memory for itself: a mapping does not live through fork.
struct End {
  End(const Fd& memory, Side side)
      : mapping(memory.get(), kSizes.totalBytes(), Access::readWrite),
        duplex(mapping, kSizes, side),
        producer(duplex.producer()),
        consumer(duplex.consumer()) {}

  Mapping mapping;
  Duplex duplex;
  RingProducer producer;
  RingConsumer consumer;
};

constexpr std::uint64_t kBatch = 32;

void sendBare(const Fd& memory, std::size_t size, std::uint64_t count) {
  End end(memory, Side::first);
  const std::vector<std::byte> bytes(size);
  Backoff backoff;
  for (std::uint64_t i = 0; i < count; ++i) {
    while (!end.producer.tryPush(bytes)) {
      end.producer.publish();
      backoff.again();
    }
    if (i % kBatch == 0) end.producer.publish();
  }
  end.producer.publish();
}

void receiveBare(const Fd& memory, std::size_t size, std::uint64_t count) {
  End end(memory, Side::second);
  std::vector<std::byte> bytes(size);
  Backoff backoff;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::optional<RingRecord> record;
    while (!(record = end.consumer.tryPeek())) backoff.again();
    RingConsumer::copyOut(*record, bytes);
    end.consumer.consume();
    if (end.consumer.shouldRelease()) end.consumer.release();
  }
}

double bareRing(std::size_t size, std::uint64_t count) {
  const Fd memory = createMemory(kSizes.totalBytes());
  return nsOfBoth([&] { sendBare(memory, size, count); }, [&] { receiveBare(memory, size, count); }) /
         static_cast<double>(count);
}

// With sleeping and waking, as a pipe uses it.
struct WakingEnd : End {
  WakingEnd(const Fd& memory, Side side, const Doorbell& bell)
      : End(memory, side), sleeper(duplex.ownWake(), bell), waker(duplex.peerWake(), bell) {}

  void push(std::span<const std::byte> bytes, bool publish) {
    while (!producer.tryPush(bytes)) {
      flush();
      sleeper.wait([&] { return producer.freeBytes() > kRingBytes / 4; }, {}, std::nullopt);
    }
    if (publish) flush();
  }
  void flush() {
    producer.publish();
    waker.wake();
  }
  void pop(std::span<std::byte> bytes) {
    std::optional<RingRecord> record = consumer.tryPeek();
    if (!record) {
      if (consumer.unreleased() != 0) release();
      sleeper.wait([&] { return (record = consumer.tryPeek()).has_value(); }, {}, std::nullopt);
    }
    RingConsumer::copyOut(*record, bytes);
    consumer.consume();
    if (consumer.shouldRelease()) release();
  }
  void release() {
    consumer.release();
    waker.wake();
  }

  Sleeper sleeper;
  Waker waker;
};

double wakingRing(std::size_t size, std::uint64_t count) {
  const Fd memory = createMemory(kSizes.totalBytes());
  const auto bells = Doorbell::makePair();
  return nsOfBoth(
             [&] {
               WakingEnd end(memory, Side::first, bells.first);
               const std::vector<std::byte> bytes(size);
               for (std::uint64_t i = 0; i < count; ++i) end.push(bytes, i % kBatch == 0);
               end.flush();
             },
             [&] {
               WakingEnd end(memory, Side::second, bells.second);
               std::vector<std::byte> bytes(size);
               for (std::uint64_t i = 0; i < count; ++i) end.pop(bytes);
             }) /
         static_cast<double>(count);
}

double roundTripRing(std::uint64_t count) {
  const Fd memory = createMemory(kSizes.totalBytes());
  const auto bells = Doorbell::makePair();
  return nsOfBoth(
             [&] {
               WakingEnd end(memory, Side::first, bells.first);
               std::byte bytes[64] = {};
               for (std::uint64_t i = 0; i < count; ++i) {
                 end.push(bytes, true);
                 end.pop(bytes);
               }
             },
             [&] {
               WakingEnd end(memory, Side::second, bells.second);
               std::byte bytes[64] = {};
               for (std::uint64_t i = 0; i < count; ++i) {
                 end.pop(bytes);
                 end.push(bytes, true);
               }
             }) /
         static_cast<double>(count);
}

struct OsPipe {
  OsPipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) std::abort();
    reader = Fd(ends[0]);
    writer = Fd(ends[1]);
  }
  void send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t wrote = ::write(writer.get(), bytes.data(), bytes.size());
      if (wrote <= 0) std::abort();
      bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    }
  }
  void receive(std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t got = ::read(reader.get(), bytes.data(), bytes.size());
      if (got <= 0) std::abort();
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }
  Fd reader;
  Fd writer;
};

double osPipe(std::size_t size, std::uint64_t count) {
  const OsPipe pipe;
  std::vector<std::byte> bytes(size);
  return nsOfBoth(
             [&] {
               for (std::uint64_t i = 0; i < count; ++i) pipe.send(bytes);
             },
             [&] {
               for (std::uint64_t i = 0; i < count; ++i) pipe.receive(bytes);
             }) /
         static_cast<double>(count);
}

double roundTripOsPipe(std::uint64_t count) {
  const OsPipe there;
  const OsPipe back;
  std::byte bytes[64] = {};
  return nsOfBoth(
             [&] {
               for (std::uint64_t i = 0; i < count; ++i) {
                 there.send(bytes);
                 back.receive(bytes);
               }
             },
             [&] {
               for (std::uint64_t i = 0; i < count; ++i) {
                 there.receive(bytes);
                 back.send(bytes);
               }
             }) /
         static_cast<double>(count);
}

}  // namespace

void ringBench() {
  compare("64 bytes one way", {{"bare ring", [] { return bareRing(64, 3'000'000); }},
                               {"ring with wake-ups", [] { return wakingRing(64, 3'000'000); }},
                               {"OS pipe", [] { return osPipe(64, 100'000); }}});
  compare("4 KiB one way", {{"bare ring", [] { return bareRing(4096, 200'000); }},
                            {"ring with wake-ups", [] { return wakingRing(4096, 200'000); }},
                            {"OS pipe", [] { return osPipe(4096, 50'000); }}});
  compare("round trip, both sides asleep between",
          {{"OS pipe", [] { return roundTripOsPipe(20'000); }},
           {"ring with wake-ups", [] { return roundTripRing(20'000); }}});
}

}  // namespace baton::bench
