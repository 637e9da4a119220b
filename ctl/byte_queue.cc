#include "ctl/byte_queue.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace baton::ctl {
namespace {

ByteQueue::Io outcomeOf(ssize_t moved) {
  if (moved > 0) {
    return ByteQueue::Io::moved;
  }
  const bool later = moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  return later ? ByteQueue::Io::wouldBlock : ByteQueue::Io::closed;
}

}  // namespace

void ByteQueue::compact() {
  std::memmove(bytes_.data(), bytes_.data() + begin_, size());
  end_ -= begin_;
  begin_ = 0;
}

void ByteQueue::append(std::string_view bytes) {
  if (bytes_.size() - end_ < bytes.size()) compact();
  std::memcpy(bytes_.data() + end_, bytes.data(), bytes.size());
  end_ += bytes.size();
}

ByteQueue::Io ByteQueue::fillFrom(int fd) {
  if (end_ == bytes_.size()) compact();
  const ssize_t got = ::read(fd, bytes_.data() + end_, bytes_.size() - end_);
  if (got > 0) end_ += static_cast<std::size_t>(got);
  return outcomeOf(got);
}

ByteQueue::Io ByteQueue::drainTo(int fd) {
  const ssize_t put = ::write(fd, bytes_.data() + begin_, size());
  if (put > 0) begin_ += static_cast<std::size_t>(put);
  if (begin_ == end_) clear();
  return outcomeOf(put);
}

}  // namespace baton::ctl
