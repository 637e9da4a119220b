#include "ipc/ring_channel.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <random>
#include <thread>

#include "ipc/connection.h"
#include "ipc/error.h"
#include "shm/memfd.h"

namespace baton::ipc {
namespace {

constexpr std::size_t kRing = kMinConnectionRingBytes;

// The memory and bells of two sides.
struct Ends {
  explicit Ends(std::size_t ringBytes = kRing) : sizes{ringBytes, ringBytes} {
    memory = shm::createMemory(sizes.totalBytes());
    auto [first, second] = shm::Doorbell::makePair();
    bells[0] = std::move(first);
    bells[1] = std::move(second);
    event = shm::Doorbell::makeEvent();
  }
  shm::Mapping map() const { return {memory.get(), sizes.totalBytes(), shm::Access::readWrite}; }
  RingChannel::Ends first() {
    return {map(), sizes, shm::Side::first, shm::Doorbell(shm::Doorbell::Kind::event, event.duplicate()),
            std::move(bells[0])};
  }
  RingChannel::Ends second() {
    return {map(), sizes, shm::Side::second, std::move(bells[1]),
            shm::Doorbell(shm::Doorbell::Kind::event, event.duplicate())};
  }
  shm::DuplexSizes sizes;
  shm::Fd memory;
  shm::Doorbell bells[2];
  shm::Doorbell event;
};

struct Channels {
  explicit Channels(std::size_t ringBytes = kRing, std::shared_ptr<Budget> budget = nullptr)
      : ends(ringBytes), daemon(ends.first(), kMaxFrameBytes, std::move(budget)), client(ends.second()) {}
  Ends ends;
  RingChannel daemon;
  RingChannel client;
};

// A frame whose size is some 100 bytes and those of the text.
void fill(Message& message, std::uint64_t id, std::size_t textBytes = 0) {
  message.frame().setId(id);
  auto error = message.frame().initError();
  error.initText(static_cast<unsigned>(textBytes));
}

void send(RingChannel& channel, std::uint64_t id, std::size_t textBytes = 0) {
  Message message;
  fill(message, id, textBytes);
  channel.send(message);
}

std::uint64_t idOf(const std::optional<ReceivedFrame>& frame) {
  return frame ? frame->get().getId() : 0;
}

TEST(RingChannelTest, framesComeInOrder) {
  Channels pair;
  for (std::uint64_t id = 1; id <= 10; ++id) send(pair.client, id);
  EXPECT_FALSE(pair.daemon.next()) << "before they are handed over";
  EXPECT_TRUE(pair.client.flush());
  for (std::uint64_t id = 1; id <= 10; ++id) EXPECT_EQ(idOf(pair.daemon.next()), id);
  EXPECT_FALSE(pair.daemon.next());
}

TEST(RingChannelTest, whatDoesNotFitWaits) {
  Channels pair;
  for (std::uint64_t id = 1; id <= 1'000; ++id) send(pair.client, id, 100);
  EXPECT_FALSE(pair.client.flush());
  EXPECT_GT(pair.client.unsentBytes(), 0U);
  std::uint64_t last = 0;
  while (last < 1'000) {
    while (const auto frame = pair.daemon.next()) EXPECT_EQ(frame->get().getId(), ++last);
    pair.daemon.arm();
    pair.client.flush();
  }
  EXPECT_EQ(pair.client.unsentBytes(), 0U);
  EXPECT_FALSE(pair.client.writable());
}

TEST(RingChannelTest, framesOfAnySize) {
  for (const std::size_t ringBytes : {kRing, kMaxConnectionRingBytes}) {
    Channels pair(ringBytes);
    std::mt19937_64 random(1);
    std::uint64_t sent = 0;
    std::uint64_t received = 0;
    std::vector<std::size_t> sizes;
    while (received < 300) {
      if (sent < 300) {
        const std::size_t most = random() % 4 == 0 ? kMaxFrameBytes - 200 : random() % 2 == 0 ? 20'000 : 200;
        sizes.push_back(random() % most);
        send(pair.client, ++sent, sizes.back());
      }
      pair.client.flush();
      while (const auto frame = pair.daemon.next()) {
        EXPECT_EQ(frame->get().getError().getText().size(), sizes[received]);
        EXPECT_EQ(frame->get().getId(), ++received);
      }
      pair.daemon.arm();
    }
  }
}

TEST(RingChannelTest, marksTellWhatWasTaken) {
  Channels pair;
  send(pair.daemon, 1);
  const auto first = pair.daemon.mark();
  for (std::uint64_t id = 2; id <= 500; ++id) send(pair.daemon, id, 100);
  const auto last = pair.daemon.mark();
  pair.daemon.flush();
  EXPECT_LT(pair.daemon.passed(), first);
  EXPECT_EQ(idOf(pair.client.next()), 1U);
  EXPECT_LT(pair.daemon.passed(), first) << "consumed, but it does not say so before it sleeps";
  pair.client.arm();
  EXPECT_EQ(pair.daemon.passed(), first);
  for (std::uint64_t received = 1; received < 500;) {
    EXPECT_LT(pair.daemon.passed(), last);
    while (pair.client.next()) ++received;
    pair.client.arm();
    pair.daemon.flush();
  }
  EXPECT_EQ(pair.daemon.passed(), last);
}

TEST(RingChannelTest, whoSleepsIsRungOnce) {
  Channels pair;
  const auto rings = [&] {
    std::uint64_t count = 0;
    return ::read(pair.ends.event.fd(), &count, sizeof count) == sizeof count ? count : 0;
  };
  send(pair.client, 1);
  pair.client.flush();
  EXPECT_EQ(rings(), 0U) << "it is awake";
  EXPECT_EQ(idOf(pair.daemon.next()), 1U);
  pair.daemon.arm();
  EXPECT_FALSE(pair.daemon.readable());
  for (std::uint64_t id = 2; id < 10; ++id) {
    send(pair.client, id);
    pair.client.flush();
  }
  EXPECT_EQ(rings(), 1U);
}

TEST(RingChannelTest, aFrameWaitsForRoomInTheBudget) {
  auto budget = std::make_shared<Budget>(100'000);
  Channels pair(kMaxConnectionRingBytes, budget);
  Charge other(budget);
  ASSERT_TRUE(other.tryRaise(90'000));
  send(pair.client, 1, 60'000);  // one record
  send(pair.client, 2, 90'000);  // one record, too
  pair.client.flush();
  EXPECT_FALSE(pair.daemon.next());
  EXPECT_FALSE(pair.daemon.admit());
  EXPECT_FALSE(pair.daemon.readable());
  other.set(0);
  EXPECT_TRUE(pair.daemon.admit());
  {
    const auto frame = pair.daemon.next();
    EXPECT_EQ(idOf(frame), 1U);
    EXPECT_GE(budget->used(), 60'000U);
    EXPECT_FALSE(pair.daemon.next()) << "the first is still held";
  }
  EXPECT_EQ(idOf(pair.daemon.next()), 2U);
  EXPECT_EQ(budget->used(), 0U);
}

TEST(RingChannelTest, aFrameInPiecesIsCharged) {
  auto budget = std::make_shared<Budget>(200'000);
  Channels pair(kRing, budget);
  send(pair.client, 1, 300'000);
  for (int i = 0; i < 100; ++i) {
    pair.client.flush();
    EXPECT_FALSE(pair.daemon.next());
    pair.daemon.arm();
  }
  EXPECT_FALSE(pair.daemon.admit()) << "never: it is larger than the budget";
  budget->setLimit(400'000);
  EXPECT_TRUE(pair.daemon.admit());
  std::optional<ReceivedFrame> frame;
  for (int i = 0; i < 100 && !frame; ++i) {
    pair.client.flush();
    frame = pair.daemon.next();
    pair.daemon.arm();
  }
  EXPECT_EQ(idOf(frame), 1U);
  EXPECT_GE(budget->used(), 300'000U);
}

// ---- what no honest peer does ----------------------------------------------------------------------------

struct Hostile {
  explicit Hostile(std::size_t ringBytes = kRing)
      : ends(ringBytes),
        daemon(ends.first()),
        memory(ends.map()),
        duplex(memory, ends.sizes, shm::Side::second),
        out(duplex.producer()) {}
  void push(std::vector<std::byte> bytes, bool more = false) {
    ASSERT_TRUE(out.tryPush(bytes, more));
    out.publish();
  }
  Code outcome() {
    try {
      while (daemon.next()) continue;
      return Code::ok;
    } catch (const Error& error) {
      return error.code();
    } catch (const kj::Exception&) {
      return Code::protocol;
    }
  }
  Ends ends;
  RingChannel daemon;
  shm::Mapping memory;
  shm::Duplex duplex;
  shm::RingProducer out;
};

std::vector<std::byte> frameBytes(std::size_t textBytes) {
  Message message;
  fill(message, 1, textBytes);
  std::vector<std::byte> bytes;
  message.appendTo(bytes);
  return bytes;
}

TEST(RingChannelTest, brokenRecordsAreProtocolErrors) {
  const auto whole = frameBytes(0);
  const auto cases = std::vector<std::vector<std::byte>>{
      {},
      std::vector<std::byte>(8),
      std::vector<std::byte>(7),
      std::vector<std::byte>(4'096, std::byte{0xff}),
      {whole.begin(), whole.end() - 8},
      {whole.begin(), whole.end() - 1},
  };
  for (const auto& bytes : cases) {
    Hostile peer;
    peer.push(bytes);
    EXPECT_EQ(peer.outcome(), Code::protocol) << bytes.size() << " bytes";
  }
  Hostile peer;
  auto longer = whole;
  longer.resize(longer.size() + 8);
  peer.push(longer);
  EXPECT_EQ(peer.outcome(), Code::protocol);
}

TEST(RingChannelTest, brokenPiecesAreProtocolErrors) {
  const std::size_t full = shm::maxRecordBytes(kRing);
  const auto whole = frameBytes(20'000);
  const auto part = [&](std::size_t from, std::size_t to) {
    return std::vector<std::byte>(whole.begin() + static_cast<std::ptrdiff_t>(from),
                                  whole.begin() + static_cast<std::ptrdiff_t>(to));
  };
  {
    Hostile peer;
    peer.push({}, true);
    EXPECT_EQ(peer.outcome(), Code::protocol) << "an endless row of empty pieces";
  }
  {
    Hostile peer;
    peer.push(part(0, full - 8), true);
    EXPECT_EQ(peer.outcome(), Code::protocol) << "a small piece";
  }
  {
    Hostile peer;
    peer.push(part(0, full), true);
    EXPECT_EQ(peer.outcome(), Code::ok);
    peer.push(part(full, full + 8));
    EXPECT_EQ(peer.outcome(), Code::protocol) << "the last before the end";
  }
  {
    Hostile peer(4 * kRing);
    peer.push(frameBytes(100), true);
    EXPECT_EQ(peer.outcome(), Code::protocol);
  }
}

TEST(RingChannelTest, aHugeFrameIsRefusedBeforeItComes) {
  Hostile peer;
  std::vector<std::byte> bytes(shm::maxRecordBytes(kRing));
  const std::uint32_t words = kMaxFrameBytes / 8;
  std::memcpy(bytes.data() + 4, &words, sizeof words);
  peer.push(bytes, true);
  EXPECT_EQ(peer.outcome(), Code::tooLarge);
}

TEST(RingChannelTest, positionsThatCannotBe) {
  for (const std::uint64_t written : {std::uint64_t{1}, std::uint64_t{kRing + 8}, ~std::uint64_t{7}}) {
    Hostile peer;
    // The ring to the daemon begins its control behind that of the other (shm/duplex.h).
    peer.memory.at<shm::RingControl>(sizeof(shm::RingControl)).written.store(written);
    EXPECT_EQ(peer.outcome(), Code::protocol);
  }
  for (const std::uint64_t read : {std::uint64_t{8}, ~std::uint64_t{7}}) {
    Hostile peer;
    peer.memory.at<shm::RingControl>(0).read.store(read);
    send(peer.daemon, 1);
    peer.daemon.mark();
    EXPECT_EQ(peer.daemon.passed(), 0U);
    try {
      peer.daemon.flush();
      ADD_FAILURE() << read;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::protocol);
    }
  }
}

// ---- with a socket beside --------------------------------------------------------------------------------

struct Connections {
  Connections() {
    int sockets[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    Ends ends;
    daemon = std::make_unique<Connection>(shm::Fd(sockets[0]));
    client = std::make_unique<Connection>(shm::Fd(sockets[1]));
    daemon->useRings(std::make_unique<RingChannel>(ends.first()));
    client->useRings(std::make_unique<RingChannel>(ends.second()));
  }
  static void send(Connection& connection, std::uint64_t id, bool withFd) {
    Message message;
    message.frame().setId(id);
    message.frame().setPing();
    if (withFd) message.attach(shm::Fd(::dup(0)));
    connection.send(message);
  }
  std::unique_ptr<Connection> daemon;
  std::unique_ptr<Connection> client;
};

TEST(ConnectionWithRingsTest, framesComeAsTheyWereSent) {
  Connections pair;
  std::mt19937_64 random(2);
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  while (received < 2'000) {
    for (std::uint64_t i = random() % 20; i > 0 && sent < 2'000; --i) {
      Connections::send(*pair.client, ++sent, random() % 10 == 0);
    }
    if (random() % 4 != 0) pair.client->flush();
    // In any order: what comes early must wait.
    if (random() % 2 == 0) pair.daemon->receive();
    while (const auto frame = pair.daemon->next()) ASSERT_EQ(frame->get().getId(), ++received);
    pair.daemon->rings()->arm();
  }
}

TEST(ConnectionWithRingsTest, anEarlyFrameWaits) {
  Connections pair;
  Connections::send(*pair.client, 1, true);
  Connections::send(*pair.client, 2, false);
  pair.client->flush();
  EXPECT_FALSE(pair.daemon->next());
  EXPECT_TRUE(pair.daemon->early());
  EXPECT_FALSE(pair.daemon->ringsReadable()) << "there is no use in looking at more of them";
  pair.daemon->receive();
  EXPECT_EQ(idOf(pair.daemon->next()), 1U);
  EXPECT_EQ(idOf(pair.daemon->next()), 2U);
  EXPECT_FALSE(pair.daemon->next());
  EXPECT_FALSE(pair.daemon->early());
}

TEST(ConnectionWithRingsTest, descriptorsOfAnEarlyFrameCanBeClaimed) {
  Connections pair;
  // Its frames in rings go nowhere.
  Ends others;
  pair.client->useRings(std::make_unique<RingChannel>(others.second()));
  Connections::send(*pair.client, 1, false);
  Connections::send(*pair.client, 2, true);
  pair.client->flush();
  pair.daemon->receive();
  EXPECT_FALSE(pair.daemon->next());
  EXPECT_TRUE(pair.daemon->early());
  EXPECT_EQ(pair.daemon->takeUnclaimed().size(), 1U);
}

// 1,000 calls in flight, both rings full at once: who waits for room goes on taking in.
TEST(ConnectionWithRingsTest, fullRingsOnBothSidesAreNoDeadlock) {
  Channels pair;
  constexpr std::uint64_t kCalls = 1'000;
  std::thread daemon([&] {
    std::uint64_t answered = 0;
    while (true) {
      while (const auto frame = pair.daemon.next()) {
        send(pair.daemon, frame->get().getId(), 900);
        ++answered;
      }
      if (pair.daemon.flush() && answered == kCalls) return;
      pair.daemon.arm();
      if (pair.daemon.readable() || pair.daemon.writable()) continue;
      pollfd bell{pair.daemon.bellFd(), POLLIN, 0};
      ASSERT_EQ(::poll(&bell, 1, 30'000), 1);
      std::uint64_t rings = 0;
      ASSERT_EQ(::read(bell.fd, &rings, sizeof rings), static_cast<ssize_t>(sizeof rings));
    }
  });
  for (std::uint64_t id = 1; id <= kCalls; ++id) send(pair.client, id, 900);
  std::uint64_t last = 0;
  while (last < kCalls) {
    pair.client.flush();
    const auto woken = pair.client.wait(true, {}, shm::Clock::now() + std::chrono::seconds(30));
    ASSERT_EQ(woken, shm::Woken::ready);
    while (const auto frame = pair.client.next()) ASSERT_EQ(frame->get().getId(), ++last);
  }
  daemon.join();
}

}  // namespace
}  // namespace baton::ipc
