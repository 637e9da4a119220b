#include "ipc/parcel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr std::size_t kParcelFds = 3;

struct Datagram {
  std::array<char, 8> bytes{};
  std::size_t size = 0;
  std::vector<shm::Fd> fds;
};

void sendDatagram(int socket, const void* bytes, std::size_t size, const std::vector<int>& fds) {
  iovec part{const_cast<void*>(bytes), size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kParcelFds)] = {};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  if (::sendmsg(socket, &header, MSG_NOSIGNAL) < 0) {
    throwErrno("cannot pass descriptors");
  }
}

// nullopt: nothing there.
std::optional<Datagram> receiveDatagram(int socket) {
  Datagram datagram;
  iovec part{datagram.bytes.data(), datagram.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kParcelFds)];
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    if (errno == EAGAIN) return std::nullopt;
    throw Error(Code::disconnected, "the other end of a parcel is gone");
  }
  for (cmsghdr* p = CMSG_FIRSTHDR(&header); p != nullptr; p = CMSG_NXTHDR(&header, p)) {
    if (p->cmsg_level != SOL_SOCKET || p->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (p->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(p) + i * sizeof(int), sizeof(int));
      datagram.fds.emplace_back(fd);
    }
  }
  // Room is rounded up: one more than asked for may fit.
  if ((header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0 || datagram.fds.size() > kParcelFds) {
    throw Error(Code::protocol, "a parcel that is too large");
  }
  if (got == 0) {
    throw Error(Code::disconnected, "the other end of a parcel is gone");
  }
  datagram.size = static_cast<std::size_t>(got);
  return datagram;
}

}  // namespace

std::pair<shm::Fd, shm::Fd> makeParcel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
    throwErrno("cannot make a parcel");
  }
  return {shm::Fd(ends[0]), shm::Fd(ends[1])};
}

void sendStandardFds(int parcel, const std::array<int, 3>& fds, std::uint8_t terminals) {
  std::array<char, 4> bytes{'F', 0, 0, 0};
  std::vector<int> sent;
  for (std::size_t i = 0; i < fds.size(); ++i) {
    if ((terminals >> i & 1) != 0) {
      bytes[i + 1] = static_cast<char>(kFromTerminal);
    } else {
      bytes[i + 1] = static_cast<char>(sent.size());
      sent.push_back(fds[i]);
    }
  }
  sendDatagram(parcel, bytes.data(), bytes.size(), sent);
}

StandardFds receiveStandardFds(int parcel, int timeoutMs) {
  pollfd wait{parcel, POLLIN, 0};
  if (::poll(&wait, 1, timeoutMs) == 0) {
    throw Error(Code::timedOut, "the client sent no descriptors");
  }
  auto result = tryReceiveStandardFds(parcel);
  if (!result) {
    throw Error(Code::protocol, "a parcel without descriptors");
  }
  return std::move(*result);
}

std::optional<StandardFds> tryReceiveStandardFds(int parcel) {
  auto datagram = receiveDatagram(parcel);
  if (!datagram) {
    return std::nullopt;
  }
  if (datagram->size != 4 || datagram->bytes[0] != 'F') {
    throw Error(Code::protocol, "a parcel without descriptors");
  }
  StandardFds result;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto index = static_cast<std::uint8_t>(datagram->bytes[i + 1]);
    if (index == kFromTerminal) {
      result.terminals = static_cast<std::uint8_t>(result.terminals | 1U << i);
    } else if (index < datagram->fds.size() && datagram->fds[index]) {
      result.fds[i] = std::move(datagram->fds[index]);
    } else {
      throw Error(Code::protocol, "a parcel that names a descriptor it does not have");
    }
  }
  return result;
}

void sendTerminalMaster(int parcel, int master) {
  const char kind = 'T';
  sendDatagram(parcel, &kind, 1, {master});
}

std::optional<shm::Fd> tryReceiveTerminalMaster(int parcel) {
  auto datagram = receiveDatagram(parcel);
  if (!datagram) {
    return std::nullopt;
  }
  if (datagram->size != 1 || datagram->bytes[0] != 'T' || datagram->fds.size() != 1) {
    throw Error(Code::protocol, "a parcel without a terminal");
  }
  return std::move(datagram->fds[0]);
}

void sendGo(int parcel) {
  const char kind = 'G';
  sendDatagram(parcel, &kind, 1, {});
}

bool tryReceiveGo(int parcel) {
  const auto datagram = receiveDatagram(parcel);
  if (!datagram) {
    return false;
  }
  if (datagram->size != 1 || datagram->bytes[0] != 'G' || !datagram->fds.empty()) {
    throw Error(Code::protocol, "a parcel with something else than the word to start");
  }
  return true;
}

}  // namespace baton::ipc
