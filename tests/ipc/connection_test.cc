#include "ipc/connection.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstring>
#include <random>
#include <string>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

struct Pair {
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    near = std::make_unique<Connection>(shm::Fd(ends[0]));
    far = shm::Fd(ends[1]);
  }
  std::unique_ptr<Connection> near;
  shm::Fd far;
};

// A file whose content is `number`.
shm::Fd numbered(int number) {
  shm::Fd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(::write(fd.get(), &number, sizeof(number)), static_cast<ssize_t>(sizeof(number)));
  return fd;
}

int numberOf(const shm::Fd& fd) {
  int number = -1;
  EXPECT_EQ(::pread(fd.get(), &number, sizeof(number), 0), static_cast<ssize_t>(sizeof(number)));
  return number;
}

void fillPing(Message& message, std::uint64_t id) {
  message.frame().setId(id);
  message.frame().setPing();
}

std::vector<std::byte> pingBytes(std::uint64_t id, std::uint8_t fdCount) {
  Message message;
  fillPing(message, id);
  message.frame().setFdCount(fdCount);
  std::vector<std::byte> bytes;
  message.appendTo(bytes);
  return bytes;
}

// One sendmsg, as a peer may make it.
void sendRaw(int socket, std::span<const std::byte> bytes, int fdCount) {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  const shm::Fd file = numbered(1);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 64)] = {};
  if (fdCount > 0) {
    const std::size_t size = sizeof(int) * static_cast<std::size_t>(fdCount);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(size);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(size);
    for (int i = 0; i < fdCount; ++i) {
      const int fd = file.get();
      std::memcpy(CMSG_DATA(rights) + static_cast<std::size_t>(i) * sizeof(int), &fd, sizeof(int));
    }
  }
  ASSERT_EQ(::sendmsg(socket, &header, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

// All that has come; stops at the first error.
Code receiveAll(Connection& connection, std::vector<ReceivedFrame>& frames) {
  try {
    auto input = Connection::Input::more;
    while (true) {
      while (auto frame = connection.next()) frames.push_back(std::move(*frame));
      if (input != Connection::Input::more) return Code::ok;
      input = connection.receive();
    }
  } catch (const Error& error) {
    return error.code();
  }
}

int openFds() {
  int count = 0;
  for (int fd = 0; fd < 256; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST(Connection, carriesFramesAndTheirDescriptors) {
  Pair pair;
  Connection far(std::move(pair.far));
  for (int i = 1; i <= 3; ++i) {
    Message message;
    fillPing(message, static_cast<std::uint64_t>(i));
    for (int fd = 0; fd < i - 1; ++fd) message.attach(numbered(10 * i + fd));
    pair.near->send(message);
  }
  EXPECT_GT(pair.near->unsentBytes(), 0U);
  EXPECT_TRUE(pair.near->flush());
  EXPECT_EQ(pair.near->unsentBytes(), 0U);
  std::vector<ReceivedFrame> frames;
  while (frames.size() < 3) ASSERT_EQ(receiveAll(far, frames), Code::ok);
  for (int i = 1; i <= 3; ++i) {
    const auto& frame = frames[static_cast<std::size_t>(i) - 1];
    EXPECT_EQ(frame.get().getId(), static_cast<std::uint64_t>(i));
    ASSERT_EQ(frame.fds.size(), static_cast<std::size_t>(i) - 1);
    for (int fd = 0; fd < i - 1; ++fd) {
      EXPECT_EQ(numberOf(frame.fds[static_cast<std::size_t>(fd)]), 10 * i + fd);
      EXPECT_NE(::fcntl(frame.fds[static_cast<std::size_t>(fd)].get(), F_GETFD) & FD_CLOEXEC, 0);
    }
  }
}

TEST(Connection, takesAsManyDescriptorsAsAFrameMayHave) {
  Pair pair;
  sendRaw(pair.far.get(), pingBytes(1, kMaxFds), kMaxFds);
  std::vector<ReceivedFrame> frames;
  EXPECT_EQ(receiveAll(*pair.near, frames), Code::ok);
  ASSERT_EQ(frames.size(), 1U);
  EXPECT_EQ(frames[0].fds.size(), kMaxFds);
}

TEST(Connection, refusesMoreDescriptorsAndLeaksNone) {
  const int before = openFds();
  for (const int count : {17, 18, 40, 64}) {
    Pair pair;
    sendRaw(pair.far.get(), pingBytes(1, static_cast<std::uint8_t>(count)), count);
    std::vector<ReceivedFrame> frames;
    EXPECT_EQ(receiveAll(*pair.near, frames), Code::protocol) << count;
    EXPECT_TRUE(frames.empty());
  }
  EXPECT_EQ(openFds(), before);
}

TEST(Connection, refusesAFrameWithoutItsDescriptors) {
  for (int sent = 0; sent < 3; ++sent) {
    Pair pair;
    sendRaw(pair.far.get(), pingBytes(1, 3), sent);
    std::vector<ReceivedFrame> frames;
    EXPECT_EQ(receiveAll(*pair.near, frames), Code::protocol) << sent;
  }
}

TEST(Connection, refusesDescriptorsWithoutTheirFrame) {
  for (int announced = 0; announced < 3; ++announced) {
    Pair pair;
    sendRaw(pair.far.get(), pingBytes(1, static_cast<std::uint8_t>(announced)), 3);
    std::vector<ReceivedFrame> frames;
    EXPECT_EQ(receiveAll(*pair.near, frames), Code::protocol) << announced;
  }
}

TEST(Connection, refusesAHoardOfDescriptorsBeforeTheirFrame) {
  Pair pair;
  // A byte of a frame at a time, each with descriptors.
  const auto bytes = pingBytes(1, 16);
  std::vector<ReceivedFrame> frames;
  Code code = Code::ok;
  for (std::size_t at = 0; at < 8 && code == Code::ok; ++at) {
    sendRaw(pair.far.get(), std::span(bytes).subspan(at, 1), 16);
    code = receiveAll(*pair.near, frames);
  }
  EXPECT_EQ(code, Code::protocol);
}

TEST(Connection, deliversWhatCameBeforeTheEnd) {
  Pair pair;
  sendRaw(pair.far.get(), pingBytes(1, 0), 0);
  sendRaw(pair.far.get(), pingBytes(2, 0), 0);
  pair.far.reset();
  std::vector<ReceivedFrame> frames;
  while (pair.near->receive() != Connection::Input::closed) receiveAll(*pair.near, frames);
  receiveAll(*pair.near, frames);
  EXPECT_EQ(frames.size(), 2U);
}

TEST(Connection, neverWaitsForAPeerThatDoesNotRead) {
  Pair pair;
  std::size_t queued = 0;
  for (int i = 0; i < 40; ++i) {
    Message message;
    message.frame().setId(1);
    message.frame().initSubmit().initArgv(1).init(0, 500'000);
    pair.near->send(message);
    queued += 500'000;
  }
  EXPECT_FALSE(pair.near->flush());
  EXPECT_GT(pair.near->unsentBytes(), queued / 2);
  Connection far(std::move(pair.far));
  std::vector<ReceivedFrame> frames;
  while (frames.size() < 40) {
    ASSERT_EQ(receiveAll(far, frames), Code::ok);
    pair.near->flush();
  }
  EXPECT_EQ(pair.near->unsentBytes(), 0U);
}

TEST(Connection, saysThatThePeerIsGone) {
  Pair pair;
  pair.far.reset();
  Message message;
  fillPing(message, 1);
  pair.near->send(message);
  EXPECT_THROW(pair.near->flush(), Error);
  EXPECT_EQ(pair.near->receive(), Connection::Input::closed);
}

TEST(Connection, garbageIsAProtocolError) {
  Pair pair;
  const std::string text = "GET / HTTP/1.1\r\n\r\n";
  sendRaw(pair.far.get(), std::as_bytes(std::span(text)), 0);
  std::vector<ReceivedFrame> frames;
  EXPECT_EQ(receiveAll(*pair.near, frames), Code::protocol);
}

// Frames of all sizes through a tiny socket buffer: each meets its own descriptors again.
TEST(Connection, keepsDescriptorsWithTheirFrames) {
  Pair pair;
  const int tiny = 4608;
  ASSERT_EQ(::setsockopt(pair.near->fd(), SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny)), 0);
  Connection far(std::move(pair.far));
  std::mt19937 random(3);
  std::vector<std::size_t> counts;
  std::size_t seen = 0;
  for (int i = 0; i < 1000; ++i) {
    Message message;
    message.frame().setId(static_cast<std::uint64_t>(i) + 1);
    message.frame().initSubmit().initArgv(1).init(0, random() % 3 == 0 ? random() % 20'000 : random() % 50);
    counts.push_back(random() % 4 == 0 ? random() % 4 : 0);
    for (std::size_t fd = 0; fd < counts.back(); ++fd) message.attach(numbered(i));
    pair.near->send(message);
    if (random() % 3 != 0) continue;
    do {
      pair.near->flush();
      std::vector<ReceivedFrame> frames;
      ASSERT_EQ(receiveAll(far, frames), Code::ok);
      for (const auto& frame : frames) {
        ASSERT_EQ(frame.get().getId(), seen + 1);
        ASSERT_EQ(frame.fds.size(), counts[seen]);
        for (const auto& fd : frame.fds) ASSERT_EQ(numberOf(fd), static_cast<int>(seen));
        ++seen;
      }
    } while (pair.near->unsentBytes() > 0);
  }
  EXPECT_GT(seen, 900U);
}

}  // namespace
}  // namespace baton::ipc
