#include "ipc/frame.h"

#include <gtest/gtest.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

using Bytes = std::vector<std::byte>;
using Words = std::vector<std::uint64_t>;

Bytes bytesOf(Message& message) {
  Bytes bytes;
  message.appendTo(bytes);
  return bytes;
}

Bytes pingBytes(std::uint64_t id) {
  Message message;
  message.frame().setId(id);
  message.frame().setPing();
  return bytesOf(message);
}

// A submit whose only argument has `size` bytes.
Bytes submitBytes(std::uint64_t id, std::size_t size) {
  Message message;
  message.frame().setId(id);
  auto argv = message.frame().initSubmit().initArgv(1);
  std::memset(argv.init(0, static_cast<unsigned>(size)).begin(), 'x', size);
  return bytesOf(message);
}

void append(FrameReader& reader, std::span<const std::byte> bytes) {
  auto room = reader.room(bytes.size());
  ASSERT_GE(room.size(), bytes.size());
  std::copy(bytes.begin(), bytes.end(), room.begin());
  reader.added(bytes.size());
}

// The framing of Cap'n Proto, made by hand.
Bytes framed(const std::vector<Words>& segments) {
  std::vector<std::uint32_t> table{static_cast<std::uint32_t>(segments.size() - 1)};
  for (const Words& segment : segments) table.push_back(static_cast<std::uint32_t>(segment.size()));
  if (table.size() % 2 != 0) table.push_back(0);
  Bytes bytes(table.size() * 4);
  std::memcpy(bytes.data(), table.data(), bytes.size());
  for (const Words& segment : segments) {
    const auto* data = reinterpret_cast<const std::byte*>(segment.data());
    bytes.insert(bytes.end(), data, data + segment.size() * 8);
  }
  return bytes;
}

// The words of a ping in one segment.
Words pingWords(std::uint64_t id) {
  const Bytes bytes = pingBytes(id);
  Words words(bytes.size() / 8 - 1);
  std::memcpy(words.data(), bytes.data() + 8, words.size() * 8);
  return words;
}

std::uint64_t farPointer(std::size_t segment) {
  return std::uint64_t{segment} << 32 | 2;
}

Code codeOfNext(FrameReader& reader) {
  try {
    reader.next();
  } catch (const Error& error) {
    return error.code();
  }
  return Code::ok;
}

TEST(FrameReader, takesFramesFromPiecesOfAnySize) {
  Bytes stream;
  for (std::uint64_t id = 1; id <= 20; ++id) {
    const Bytes one = id % 3 == 0 ? submitBytes(id, id * 1000) : pingBytes(id);
    stream.insert(stream.end(), one.begin(), one.end());
  }
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{4096}, stream.size()}) {
    FrameReader reader;
    std::uint64_t expected = 1;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      append(reader, std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
      while (const auto frame = reader.next()) {
        EXPECT_EQ(frame->get().getId(), expected);
        EXPECT_EQ(frame->get().isSubmit(), expected % 3 == 0);
        EXPECT_TRUE(!frame->get().isSubmit() ||
                    frame->get().getSubmit().getArgv()[0].size() == expected * 1000);
        ++expected;
      }
    }
    EXPECT_EQ(expected, 21U) << piece;
    EXPECT_FALSE(reader.partial());
  }
}

TEST(FrameReader, waitsForTheRestOfATruncatedFrame) {
  const Bytes whole = submitBytes(5, 100);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    FrameReader reader;
    append(reader, std::span(whole).first(size));
    EXPECT_FALSE(reader.next().has_value()) << size;
    EXPECT_EQ(reader.partial(), size > 0) << size;
    append(reader, std::span(whole).subspan(size));
    const auto frame = reader.next();
    ASSERT_TRUE(frame.has_value()) << size;
    EXPECT_EQ(frame->get().getSubmit().getArgv()[0].size(), 100U);
    EXPECT_FALSE(reader.partial());
  }
}

TEST(FrameReader, readsEverySegmentTable) {
  for (std::size_t count = 1; count <= kMaxSegments; ++count) {
    for (std::size_t place = 0; place < count; ++place) {
      // The frame is in segment `place`; the others differ in size, some are empty.
      std::vector<Words> segments(count);
      for (std::size_t i = 0; i < count; ++i) segments[i] = Words(i % 4, 0);
      if (place > 0) segments[0] = {farPointer(place)};
      segments[place] = pingWords(100 * count + place);
      FrameReader reader;
      append(reader, framed(segments));
      append(reader, pingBytes(7));
      const auto frame = reader.next();
      ASSERT_TRUE(frame.has_value());
      EXPECT_TRUE(frame->get().isPing());
      EXPECT_EQ(frame->get().getId(), 100 * count + place);
      EXPECT_EQ(reader.next()->get().getId(), 7U) << "the stream goes on behind the last segment";
    }
  }
}

TEST(FrameReader, refusesMoreSegments) {
  for (const std::uint32_t last :
       {std::uint32_t{kMaxSegments}, std::uint32_t{17}, std::uint32_t{1} << 31, UINT32_MAX}) {
    FrameReader reader;
    Bytes bytes(4);
    std::memcpy(bytes.data(), &last, 4);
    append(reader, bytes);
    EXPECT_EQ(codeOfNext(reader), Code::protocol) << last;
  }
}

TEST(FrameReader, refusesALargeFrameBeforeItComes) {
  constexpr std::size_t kLimit = 4096;
  const auto announced = [](std::uint32_t words) {
    Bytes bytes(8);
    std::memcpy(bytes.data() + 4, &words, 4);
    return bytes;
  };
  for (const std::uint32_t words : {std::uint32_t{512}, std::uint32_t{1} << 29, UINT32_MAX}) {
    FrameReader reader(kLimit);
    append(reader, announced(words));
    EXPECT_EQ(codeOfNext(reader), Code::tooLarge) << words;
  }
  FrameReader reader(kLimit);
  append(reader, announced(511));
  EXPECT_EQ(codeOfNext(reader), Code::ok);
  // Every segment as large as a number can say: the sum must not wrap.
  Bytes table(4 + 4 * kMaxSegments + 4, std::byte{0xff});
  const std::uint32_t last = kMaxSegments - 1;
  std::memcpy(table.data(), &last, 4);
  FrameReader wrapped(kLimit);
  append(wrapped, table);
  EXPECT_EQ(codeOfNext(wrapped), Code::tooLarge);
}

TEST(FrameReader, takesAFrameOfExactlyTheLimit) {
  const Bytes bytes = submitBytes(3, 5000);
  FrameReader exact(bytes.size());
  append(exact, bytes);
  EXPECT_TRUE(exact.next().has_value());
  FrameReader less(bytes.size() - 1);
  append(less, bytes);
  EXPECT_EQ(codeOfNext(less), Code::tooLarge);
}

TEST(FrameReader, holdsNoMemoryForWhatHasNotCome) {
  FrameReader reader;
  const std::uint32_t table[2] = {0, kMaxFrameBytes / 8 - 1};
  append(reader, std::as_bytes(std::span(table)));
  EXPECT_FALSE(reader.next().has_value());
  EXPECT_LT(reader.room(100).size(), std::size_t{4096});
}

TEST(FrameReader, givesBackMemoryAfterALargeFrame) {
  FrameReader reader;
  append(reader, submitBytes(1, 900'000));
  EXPECT_TRUE(reader.next().has_value());
  EXPECT_LT(reader.room(100).size(), std::size_t{64} << 10);
}

TEST(FrameReader, chargesALargeFrameBeforeItTakesItIn) {
  const auto budget = std::make_shared<Budget>(300'000);
  FrameReader first(kMaxFrameBytes, budget);
  FrameReader second(kMaxFrameBytes, budget);
  const Bytes frame = submitBytes(1, 200'000);
  const auto begin = [&](FrameReader& reader) {
    append(reader, std::span(frame).first(100));
    EXPECT_FALSE(reader.next().has_value());
    return reader.admit();
  };
  EXPECT_TRUE(begin(first));
  EXPECT_EQ(budget->used(), frame.size());
  EXPECT_FALSE(begin(second));
  EXPECT_EQ(budget->used(), frame.size());
  append(first, std::span(frame).subspan(100));
  {
    const auto taken = first.next();
    ASSERT_TRUE(taken.has_value());
    EXPECT_EQ(budget->used(), frame.size()) << "as long as it is in memory";
    EXPECT_FALSE(second.admit());
  }
  EXPECT_EQ(budget->used(), 0U);
  EXPECT_TRUE(second.admit());
  EXPECT_TRUE(second.admit()) << "it is charged once";
  EXPECT_EQ(budget->used(), frame.size());
}

TEST(FrameReader, aSmallFrameNeedsNoBudget) {
  const auto budget = std::make_shared<Budget>(0);
  FrameReader reader(kMaxFrameBytes, budget);
  append(reader, submitBytes(1, kUnchargedBytes - 1000));
  EXPECT_TRUE(reader.admit());
  EXPECT_TRUE(reader.next().has_value());
}

TEST(FrameReader, givesBackTheChargeOfWhatNeverCame) {
  const auto budget = std::make_shared<Budget>(kMaxFrameBytes);
  {
    FrameReader reader(kMaxFrameBytes, budget);
    const Bytes frame = submitBytes(1, 500'000);
    append(reader, std::span(frame).first(20'000));
    EXPECT_TRUE(reader.admit());
    EXPECT_GT(budget->used(), 500'000U);
  }
  EXPECT_EQ(budget->used(), 0U);
}

TEST(FrameReader, holdsLittleBehindALargeFrame) {
  FrameReader reader;
  Bytes bytes = submitBytes(1, 900'000);
  const Bytes next = submitBytes(2, 3000);
  const std::size_t cut = next.size() / 2;
  bytes.insert(bytes.end(), next.begin(), next.begin() + static_cast<std::ptrdiff_t>(cut));
  append(reader, bytes);
  EXPECT_TRUE(reader.next().has_value());
  EXPECT_FALSE(reader.next().has_value());
  EXPECT_LT(reader.heldBytes(), kUnchargedBytes);
  append(reader, std::span(next).subspan(cut));
  const auto frame = reader.next();
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->get().getId(), 2U);
}

TEST(Charge, givesBackByItself) {
  const auto budget = std::make_shared<Budget>(100);
  Charge charge(budget);
  EXPECT_TRUE(charge.tryRaise(60));
  {
    Charge other(budget);
    EXPECT_FALSE(other.tryRaise(41));
    EXPECT_EQ(other.bytes(), 0U);
    EXPECT_TRUE(other.tryRaise(40));
    EXPECT_FALSE(charge.tryRaise(61));
    other.set(50);
    EXPECT_TRUE(budget->over());
  }
  EXPECT_EQ(budget->used(), 60U);
  Charge moved = std::move(charge);
  EXPECT_EQ(budget->used(), 60U);
  {
    const Charge taken = moved.take();
    EXPECT_EQ(taken.bytes(), 60U);
    EXPECT_EQ(moved.bytes(), 0U);
  }
  EXPECT_EQ(budget->used(), 0U);
  EXPECT_TRUE(moved.tryRaise(100)) << "it still counts against its budget";
  moved = Charge();
  EXPECT_EQ(budget->used(), 0U);
}

TEST(FrameReader, aFrameIsACopy) {
  FrameReader reader;
  append(reader, submitBytes(1, 1000));
  const auto first = reader.next();
  auto room = reader.room(1000);
  std::fill(room.begin(), room.end(), std::byte{0xff});
  for (const auto byte : first->get().getSubmit().getArgv()[0]) ASSERT_EQ(byte, 'x');
}

TEST(FrameReader, saysNoToWhatHasNoRoot) {
  const std::vector<std::vector<Words>> hostile{
      {{}},                                 // nothing at all
      {{0xfffffffffffffffc}},               // a struct far outside
      {{farPointer(9)}},                    // a segment that is not there
      {{1}},                                // a list where the struct belongs
      {{farPointer(1)}, {}},                // a landing pad outside
      {{farPointer(1)}, {farPointer(0)}},   // pointers in a circle
      {{std::uint64_t{0x7fff7fff} << 32}},  // more data than there is
  };
  for (std::size_t i = 0; i < hostile.size(); ++i) {
    FrameReader reader;
    append(reader, framed(hostile[i]));
    EXPECT_THROW(reader.next(), kj::Exception) << i;
  }
}

TEST(FrameReader, anEmptyFrameHasTheDefaults) {
  FrameReader reader;
  append(reader, framed({{0}}));
  const auto frame = reader.next();
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->get().getId(), 0U);
  EXPECT_TRUE(frame->get().isHello());
}

TEST(ReceivedFrame, cannotBeReadForEver) {
  FrameReader reader;
  append(reader, submitBytes(1, 100'000));
  const auto frame = reader.next();
  const auto readTimes = [&](int times) {
    for (int i = 0; i < times; ++i) static_cast<void>(frame->get().getSubmit().getArgv()[0].size());
  };
  EXPECT_NO_THROW(readTimes(7));
  EXPECT_THROW(readTimes(3), kj::Exception);
}

TEST(ReceivedFrame, badPointersInsideAreToldWhenRead) {
  Words words = pingWords(4);
  words.back() = 0xfffffffffffffffc;  // the frame's one pointer: of every member that is none of its own
  FrameReader reader;
  Message submit;
  submit.frame().initSubmit();
  Bytes bytes = bytesOf(submit);
  std::memcpy(bytes.data() + 8 + 8 + 8 * 3, &words.back(), 8);
  append(reader, bytes);
  const auto frame = reader.next();
  ASSERT_TRUE(frame.has_value());
  EXPECT_THROW(static_cast<void>(frame->get().getSubmit().getArgv().size()), kj::Exception);
}

TEST(FrameReader, survivesNoise) {
  std::mt19937_64 random(7);
  int frames = 0;
  for (int round = 0; round < 20'000; ++round) {
    Bytes bytes = round % 2 == 0 ? submitBytes(9, random() % 64) : pingBytes(1);
    for (auto changes = random() % 6; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    FrameReader reader(4096);
    try {
      append(reader, bytes);
      while (const auto frame = reader.next()) {
        ++frames;
        if (!frame->get().isSubmit()) continue;
        for (const auto word : frame->get().getSubmit().getArgv()) frames += word.size() > 1000 ? 1 : 0;
      }
    } catch (const Error&) {
    } catch (const kj::Exception&) {
    }
  }
  EXPECT_GT(frames, 1000);
}

TEST(Message, manySmallPiecesTakeNoMoreThanTheirSize) {
  // An argument of a byte takes two words, its pointer and itself; one more if they are in different
  // segments.
  constexpr unsigned kWords = 60'000;
  Message message;
  message.frame().setId(7);
  auto argv = message.frame().initSubmit().initArgv(kWords);
  for (unsigned i = 0; i < kWords; ++i) argv.init(i, 1)[0] = 'w';
  const Bytes bytes = bytesOf(message);
  EXPECT_LT(bytes.size(), kMaxFrameBytes);
  FrameReader reader;
  append(reader, bytes);
  const auto frame = reader.next();
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->get().getId(), 7U);
  EXPECT_EQ(frame->get().getSubmit().getArgv().size(), kWords);
  EXPECT_EQ(frame->get().getSubmit().getArgv()[kWords - 1][0], 'w');
}

TEST(Message, countsItsDescriptors) {
  Message message;
  message.attach(shm::Fd(::dup(0)));
  message.attach(shm::Fd(::dup(0)));
  EXPECT_EQ(message.frame().getFdCount(), 2);
  EXPECT_EQ(message.takeFds().size(), 2U);
  EXPECT_TRUE(message.takeFds().empty());
}

}  // namespace
}  // namespace baton::ipc
