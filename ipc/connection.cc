#include "ipc/connection.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr std::size_t kReadBytes = std::size_t{16} << 10;
// Frames are gathered into one write up to this size.
constexpr std::size_t kGatherBytes = std::size_t{64} << 10;

}  // namespace

Connection::Connection(shm::Fd socket, Intake intake)
    : socket_(std::move(socket)),
      maxFds_(intake.maxFds),
      reader_(intake.maxFrameBytes, std::move(intake.budget)) {
  const int flags = ::fcntl(socket_.get(), F_GETFL);
  const bool blocks = flags >= 0 && (flags & O_NONBLOCK) == 0;
  if (flags < 0 || (blocks && ::fcntl(socket_.get(), F_SETFL, flags | O_NONBLOCK) < 0)) {
    throwErrno("cannot make a socket non-blocking");
  }
}

void Connection::takeFds(msghdr& header) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      fdsIn_.emplace_back(fd);
    }
  }
  if ((header.msg_flags & MSG_CTRUNC) != 0 || fdsIn_.size() > 2 * kMaxFds) {
    throw Error(Code::protocol, "more descriptors than a frame may have");
  }
}

Connection::Input Connection::receive() {
  if (!reader_.admit()) return Input::noRoom;
  auto room = reader_.room(kReadBytes);
  iovec part{room.data(), room.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Input::wouldBlock;
  if (got > 0) takeFds(header);
  if (got <= 0) {
    readToEnd_ = true;
    return Input::closed;
  }
  reader_.added(static_cast<std::size_t>(got));
  return static_cast<std::size_t>(got) < room.size() ? Input::wouldBlock : Input::more;
}

std::optional<ReceivedFrame> Connection::next() {
  if (!rings_) {
    auto frame = nextOfSocket();
    if (frame) ++received_.socket;
    return frame;
  }
  if (!socketHead_) socketHead_ = nextOfSocket();
  if (!ringHead_) ringHead_ = rings_->next();
  const auto take = [](std::optional<ReceivedFrame>& head, std::uint32_t& taken, std::uint32_t others) {
    const bool inTime = head && static_cast<std::int32_t>(head->get().getAfter() - others) <= 0;
    if (inTime) ++taken;
    return inTime ? std::exchange(head, std::nullopt) : std::nullopt;
  };
  auto frame = take(socketHead_, received_.socket, received_.rings);
  return frame ? std::move(frame) : take(ringHead_, received_.rings, received_.socket);
}

std::optional<ReceivedFrame> Connection::nextOfSocket() {
  auto frame = reader_.next();
  if (!frame) {
    if (!reader_.partial() && !fdsIn_.empty()) {
      throw Error(Code::protocol, "descriptors that belong to no frame");
    }
    return std::nullopt;
  }
  const std::size_t count = frame->get().getFdCount();
  if (count > maxFds_) {
    throw Error(Code::protocol, "a frame with more than " + std::to_string(maxFds_) + " descriptors");
  }
  if (count > fdsIn_.size()) {
    throw Error(Code::protocol, "a frame without the descriptors it announces");
  }
  for (std::size_t i = 0; i < count; ++i) {
    frame->fds.push_back(std::move(fdsIn_.front()));
    fdsIn_.pop_front();
  }
  return frame;
}

std::deque<shm::Fd> Connection::takeUnclaimed() {
  auto fds = std::move(fdsIn_);
  if (socketHead_) {
    for (auto& fd : socketHead_->fds) fds.push_back(std::move(fd));
  }
  return fds;
}

shm::Fd Connection::takeSocket() {
  ::shutdown(socket_.get(), SHUT_RDWR);
  return std::move(socket_);
}

void Connection::send(Message& message) {
  if (rings_ && !message.hasFds()) {
    message.frame().setAfter(sent_.socket);
    ++sent_.rings;
    rings_->send(message);
    return;
  }
  message.frame().setAfter(sent_.rings);
  ++sent_.socket;
  auto fds = message.takeFds();
  if (!fds.empty() || out_.empty() || out_.back().bytes.size() > kGatherBytes) {
    out_.emplace_back();
    out_.back().fds = std::move(fds);
  }
  auto& chunk = out_.back();
  const std::size_t before = chunk.bytes.size();
  message.appendTo(chunk.bytes);
  unsent_ += chunk.bytes.size() - before;
}

bool Connection::sendChunk(Chunk& chunk) {
  while (chunk.sent < chunk.bytes.size()) {
    iovec part{chunk.bytes.data() + chunk.sent, chunk.bytes.size() - chunk.sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)] = {};
    if (!chunk.fds.empty()) {
      header.msg_control = control;
      header.msg_controllen = CMSG_SPACE(sizeof(int) * chunk.fds.size());
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * chunk.fds.size());
      for (std::size_t i = 0; i < chunk.fds.size(); ++i) {
        const int fd = chunk.fds[i].get();
        std::memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
      }
    }
    const ssize_t sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      // ETOOMANYREFS: this uid has too many descriptors in flight; they drain as others read.
      if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ETOOMANYREFS) return false;
      throw Error(Code::disconnected, std::string("the connection is gone: ") + std::strerror(errno));
    }
    chunk.fds.clear();
    chunk.sent += static_cast<std::size_t>(sent);
    unsent_ -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool Connection::flush() {
  const bool all = !rings_ || rings_->flush();
  return flushSocket() && all;
}

bool Connection::flushSocket() {
  while (!out_.empty()) {
    if (!sendChunk(out_.front())) {
      return false;
    }
    out_.pop_front();
  }
  return true;
}

}  // namespace baton::ipc
