// What a peer may write into a ring, and that it is noticed. tests/fuzz has the rest: what changes while it
// is read.
#include <gtest/gtest.h>

#include <string>

#include "tests/shm/ring_rig.h"

namespace baton::shm {
namespace {

constexpr std::uint64_t kMore = 1;
constexpr std::uint64_t kPad = 2;

std::uint64_t header(std::uint64_t length, std::uint64_t flags = 0) {
  return length | flags << 32;
}

// A ring in which `position` bytes have passed and `published` more are there, made by a hostile producer.
struct Forged : RingRig {
  Forged(std::size_t position, std::size_t published) {
    while (producer.position() < position) {
      if (!push(std::vector<std::byte>(std::min<std::size_t>(position - producer.position() - 8, 1016))))
        std::abort();
      if (!pop()) std::abort();
    }
    control.written.store(position + published);
  }
  void put(std::size_t offset, std::uint64_t value) { words[offset / 8] = value; }
};

struct HeaderCase {
  const char* what;
  std::size_t position;
  std::size_t published;
  std::uint64_t header;
  bool good;
};

constexpr std::size_t kSize = kMinRingBytes;
const HeaderCase kHeaders[] = {
    {"a record", 0, 64, header(56), true},
    {"a record with more", 0, 64, header(56, kMore), true},
    {"shorter than what was published", 0, 64, header(8), true},
    {"of nothing", 0, 64, header(0), true},
    {"longer than what was published", 0, 64, header(57), false},
    {"the largest", 0, kSize / 2, header(kSize / 2 - 8), true},
    {"larger than the largest", 0, kSize, header(kSize / 2 - 7), false},
    {"as long as a length can be", 0, kSize, header(0xffff'ffff), false},
    {"so long that its space is nothing", 0, kSize, header(0xffff'fff8), false},
    {"up to the end", kSize - 64, kSize, header(56), true},
    {"beyond the end", kSize - 64, kSize, header(57), false},
    {"an unknown flag", 0, 64, header(8, 4), false},
    {"the highest flag", 0, 64, header(8, 0x8000), false},
    {"the reserved field", 0, 64, header(8, 0x1'0000), false},
    {"a pad with more", kSize - 64, kSize, header(56, kPad | kMore), false},
    {"a pad that ends too early", kSize - 64, kSize, header(48, kPad), false},
    {"a pad that ends too late", kSize - 64, kSize, header(64, kPad), false},
    {"a pad beyond what was published", kSize - 64, 32, header(56, kPad), false},
    {"a pad of the whole buffer", 0, kSize, header(kSize - 8, kPad), false},
    {"a pad of half the buffer", kSize / 2, kSize, header(kSize / 2 - 8, kPad), false},
    {"a pad", kSize - 64, kSize, header(56, kPad), true},
};

TEST(HostileProducer, headersAreTakenOrRefused) {
  for (const auto& test : kHeaders) {
    Forged ring(test.position, test.published);
    ring.put(0, header(0));
    ring.put(test.position % kSize, test.header);
    if (!test.good) {
      EXPECT_THROW(ring.consumer.tryPeek(), CorruptRing) << test.what;
      continue;
    }
    std::optional<RingRecord> record;
    ASSERT_NO_THROW(record = ring.consumer.tryPeek()) << test.what;
    ASSERT_TRUE(record) << test.what;
    const bool pad = test.header >> 32 == kPad;
    EXPECT_EQ(record->bytes.size(), pad ? 0 : test.header & 0xffff'ffff) << test.what;
    EXPECT_EQ(record->more, test.header >> 32 == kMore) << test.what;
  }
}

TEST(HostileProducer, aPadAloneIsNothing) {
  Forged ring(kSize - 64, 64);
  ring.put(kSize - 64, header(56, kPad));
  EXPECT_FALSE(ring.consumer.tryPeek());
  EXPECT_FALSE(ring.consumer.tryPeek());
  ring.control.written.store(kSize + 16);
  ring.put(0, header(3));
  EXPECT_EQ(ring.consumer.tryPeek()->bytes.size(), 3U);
}

TEST(HostileProducer, aPadIsFollowedByNoOther) {
  Forged ring(kSize - 64, kSize);
  ring.put(kSize - 64, header(56, kPad));
  ring.put(0, header(56, kPad));
  EXPECT_THROW(ring.consumer.tryPeek(), CorruptRing);
}

TEST(HostileProducer, positionsAreTakenOrRefused) {
  constexpr std::uint64_t kPosition = 1024;
  for (const std::uint64_t written : {kPosition, kPosition + 8, kPosition + kSize}) {
    Forged ring(kPosition, 0);
    ring.put(kPosition, header(0));
    ring.control.written.store(written);
    EXPECT_NO_THROW(static_cast<void>(ring.consumer.tryPeek())) << written;
  }
  for (const std::uint64_t written :
       {kPosition + 4, kPosition + 12, kPosition + kSize + 8, kPosition - 8, std::uint64_t{0},
        ~std::uint64_t{0}, kPosition + (std::uint64_t{1} << 63)}) {
    Forged ring(kPosition, 0);
    ring.put(kPosition, header(0));
    ring.control.written.store(written);
    EXPECT_THROW(static_cast<void>(ring.consumer.tryPeek()), CorruptRing) << written;
  }
}

// What is consumed and not released is still the consumer's: the producer cannot have written there.
TEST(HostileProducer, cannotHaveWrittenWhatIsNotReleased) {
  RingRig ring;
  ASSERT_TRUE(ring.push(payload(1, 56)));
  ASSERT_TRUE(ring.consumer.tryPeek());
  ring.consumer.consume();
  ring.control.written.store(kSize + 8);
  EXPECT_THROW(static_cast<void>(ring.consumer.tryPeek()), CorruptRing);
}

TEST(HostileProducer, doesNotChangeWhatWasSeen) {
  RingRig ring;
  ASSERT_TRUE(ring.push(payload(1, 56)));
  ASSERT_TRUE(ring.push(payload(2, 56)));
  ASSERT_TRUE(ring.consumer.tryPeek());
  ring.control.written.store(8);
  ring.consumer.consume();
  EXPECT_TRUE(ring.consumer.tryPeek()) << "it was published, and its position is not looked at again";
}

TEST(HostileProducer, changesNoCopy) {
  RingRig ring;
  const auto sent = payload(1, 500);
  ASSERT_TRUE(ring.push(sent));
  const auto record = ring.consumer.tryPeek();
  std::vector<std::byte> copy(record->bytes.size());
  RingConsumer::copyOut(*record, copy);
  std::fill(ring.words.begin(), ring.words.end(), ~std::uint64_t{0});
  EXPECT_EQ(copy, sent);
  EXPECT_THROW(RingConsumer::copyOut({std::span(sent).first(3)}, copy), std::length_error);
}

void fill(RingProducer& producer) {
  for (std::size_t i = 0; i < kSize / 8; ++i) static_cast<void>(producer.tryPush({}));
}

TEST(HostileConsumer, positionsAreTakenOrRefused) {
  // 1024 bytes have passed and 128 are published; 64 more are written.
  const auto ring = [] {
    auto rig = std::make_unique<Forged>(1024, 0);
    EXPECT_TRUE(rig->push(payload(1, 120)));
    EXPECT_TRUE(rig->producer.tryPush(payload(2, 56)));
    EXPECT_EQ(rig->producer.passed(), 1024U);
    return rig;
  };
  for (const std::uint64_t read : {1024, 1024 + 8, 1024 + 128}) {
    const auto rig = ring();
    rig->control.read.store(read);
    EXPECT_EQ(rig->producer.passed(), read);
    EXPECT_EQ(rig->producer.freeBytes(), kSize - (1024 + 192 - read));
  }
  for (const std::uint64_t read : {std::uint64_t{1024 + 4}, std::uint64_t{1024 + 136}, std::uint64_t{1016},
                                   std::uint64_t{0}, ~std::uint64_t{7}, std::uint64_t{1} << 63}) {
    const auto rig = ring();
    rig->control.read.store(read);
    EXPECT_THROW(static_cast<void>(rig->producer.passed()), CorruptRing) << read;
    EXPECT_THROW(static_cast<void>(rig->producer.freeBytes()), CorruptRing) << read;
    EXPECT_THROW(fill(rig->producer), CorruptRing) << read;
    rig->control.read.store(1024 + 128);
    EXPECT_EQ(rig->producer.passed(), 1024U + 128);
  }
}

// Each side keeps its own position: the peer's scribbling over it is overwritten by the next store.
TEST(HostilePeer, cannotMoveTheOthersPosition) {
  RingRig ring;
  for (std::uint64_t i = 0; i < 300; ++i) {
    ring.control.written.store(~i);
    ASSERT_TRUE(ring.push(payload(i, 40)));
    ring.control.read.store(i * 8);
    ASSERT_EQ(ring.pop(), payload(i, 40));
  }
}

}  // namespace
}  // namespace baton::shm
