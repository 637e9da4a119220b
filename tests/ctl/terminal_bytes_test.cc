#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <string>

#include "ctl/byte_queue.h"
#include "ctl/newline_filter.h"
#include "shm/fd.h"

namespace baton::ctl {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    read = shm::Fd(ends[0]);
    write = shm::Fd(ends[1]);
  }
  shm::Fd read;
  shm::Fd write;
};

std::string filtered(std::initializer_list<std::string_view> chunks) {
  NewlineFilter filter;
  std::string out;
  for (const auto chunk : chunks) filter.pass(chunk, out);
  filter.finish(out);
  return out;
}

TEST(NewlineFilter, UndoesOneTranslation) {
  EXPECT_EQ(filtered({"a\r\nb\r\n"}), "a\nb\n");
}

TEST(NewlineFilter, LeavesOtherCarriageReturnsAlone) {
  EXPECT_EQ(filtered({"10%\r20%\r\r\nend\r"}), "10%\r20%\r\nend\r");
}

TEST(NewlineFilter, SeesAPairThatIsCutInTwo) {
  EXPECT_EQ(filtered({"a\r", "\nb\r", "c"}), "a\nb\rc");
}

TEST(ByteQueue, TakesNoMoreThanItsCapacity) {
  Pipe pipe;
  ByteQueue queue(10);
  ASSERT_EQ(::write(pipe.write.get(), "0123456789abcdef", 16), 16);
  EXPECT_EQ(queue.fillFrom(pipe.read.get()), ByteQueue::Io::moved);
  EXPECT_EQ(queue.size(), 10U);
  EXPECT_EQ(queue.room(), 0U);
}

TEST(ByteQueue, TellsNothingThereFromTheEnd) {
  Pipe pipe;
  ByteQueue queue(10);
  EXPECT_EQ(queue.fillFrom(pipe.read.get()), ByteQueue::Io::wouldBlock);
  pipe.write.reset();
  EXPECT_EQ(queue.fillFrom(pipe.read.get()), ByteQueue::Io::closed);
}

TEST(ByteQueue, CarriesEveryByteInOrderThroughShortReadsAndWrites) {
  constexpr std::size_t kBytes = 300'000;
  std::mt19937 random(7);
  std::string sent;
  for (std::size_t i = 0; i < kBytes; ++i) sent.push_back(static_cast<char>(random()));
  Pipe in;
  Pipe out;
  ByteQueue queue(1000);
  std::string got;
  std::size_t next = 0;
  char buffer[4096];
  while (got.size() < sent.size()) {
    const std::size_t chunk = std::min<std::size_t>(random() % 3000 + 1, sent.size() - next);
    if (const ssize_t put = ::write(in.write.get(), sent.data() + next, chunk); put > 0) {
      next += static_cast<std::size_t>(put);
    }
    if (queue.room() > 0) queue.fillFrom(in.read.get());
    if (!queue.empty()) queue.drainTo(out.write.get());
    if (const ssize_t read = ::read(out.read.get(), buffer, random() % sizeof(buffer) + 1); read > 0) {
      got.append(buffer, static_cast<std::size_t>(read));
    }
  }
  EXPECT_EQ(got, sent);
}

}  // namespace
}  // namespace baton::ctl
