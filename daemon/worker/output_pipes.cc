#include "daemon/worker/output_pipes.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ipc/error.h"

namespace baton::worker {

int OutputPipes::open(int stream) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) {
    throwErrno("cannot make a pipe for the task's output");
  }
  auto& pipe = pipes_[static_cast<std::size_t>(stream - 1)];
  pipe.reader = shm::Fd(ends[0]);
  pipe.writer = shm::Fd(ends[1]);
  // The reading end alone: the task must get a pipe that blocks.
  ::fcntl(pipe.reader.get(), F_SETFL, O_RDONLY | O_NONBLOCK);
  return pipe.writer.get();
}

void OutputPipes::addTo(PollSet& polls) const {
  if (!sink_.hasRoom()) return;
  for (const auto& pipe : pipes_) {
    if (pipe.reader) polls.add(pipe.reader.get(), POLLIN);
  }
}

// The bytes read; 0: nothing is there.
std::size_t OutputPipes::readOnce(std::size_t index, std::size_t limit) {
  ssize_t got = 0;
  do {
    got = ::read(pipes_[index].reader.get(), buffer_.data(), std::min(limit, buffer_.size()));
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return 0;
  sink_.write(static_cast<std::uint8_t>(index + 1), {buffer_.data(), static_cast<std::size_t>(got)});
  return static_cast<std::size_t>(got);
}

void OutputPipes::read(const PollSet& polls) {
  for (std::size_t i = 0; i < pipes_.size(); ++i) {
    if (pipes_[i].reader && sink_.hasRoom() && polls.ready(pipes_[i].reader.get())) readOnce(i, kReadBytes);
  }
}

void OutputPipes::closeWriters() {
  for (auto& pipe : pipes_) {
    int left = 0;
    if (pipe.reader && ::ioctl(pipe.reader.get(), FIONREAD, &left) == 0)
      pipe.left = static_cast<std::size_t>(left);
    pipe.writer.reset();
  }
}

bool OutputPipes::drain() {
  for (std::size_t i = 0; i < pipes_.size(); ++i) {
    while (pipes_[i].left > 0) {
      if (!sink_.hasRoom()) return false;
      const std::size_t got = readOnce(i, pipes_[i].left);
      pipes_[i].left = got == 0 ? 0 : pipes_[i].left - got;
    }
    pipes_[i].reader.reset();
  }
  return true;
}

}  // namespace baton::worker
