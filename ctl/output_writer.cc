#include "ctl/output_writer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include "ctl/signal_source.h"
#include "ipc/error.h"

namespace baton::ctl {

OutputWriter::OutputWriter(int fd) : fd_(fd), kind_(Kind::never) {
  struct stat status {};
  if (::fstat(fd, &status) < 0 || S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
    return;
  }
  if (S_ISSOCK(status.st_mode)) {
    kind_ = Kind::socket;
    return;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  own_ = shm::Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  kind_ = own_ ? Kind::opened : Kind::chunks;
}

std::size_t OutputWriter::writeSome(std::string_view bytes) {
  ssize_t wrote = 0;
  if (kind_ == Kind::socket) {
    wrote = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  } else if (kind_ == Kind::chunks) {
    // A pipe that is ready takes PIPE_BUF bytes without blocking.
    pollfd wait{fd_, POLLOUT, 0};
    if (::poll(&wait, 1, 0) <= 0) {
      return 0;
    }
    wrote = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
  } else {
    wrote = ::write(fd(), bytes.data(), bytes.size());
  }
  if (wrote >= 0) {
    return static_cast<std::size_t>(wrote);
  }
  if (errno == EPIPE) endBySignal(SIGPIPE);
  if (errno != EAGAIN && errno != EINTR) throwErrno("cannot write the output");
  return 0;
}

bool OutputWriter::flush() {
  while (pending() > 0) {
    const std::size_t wrote = writeSome(std::string_view(buffer_).substr(sent_));
    if (wrote == 0) {
      // What is gone is not moved for every write, but not kept for ever either.
      if (sent_ > buffer_.size() / 2) {
        buffer_.erase(0, sent_);
        sent_ = 0;
      }
      return false;
    }
    sent_ += wrote;
  }
  buffer_.clear();
  sent_ = 0;
  return true;
}

}  // namespace baton::ctl
