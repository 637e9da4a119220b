#include "shm/wake.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace baton::shm {
namespace {

// A doorbell and the few descriptors that a call watches: its socket, a pidfd, a caller's own.
constexpr std::size_t kMaxPolled = 16;
// An honest waker rings once for each sleep. A flood is taken in parts, and poll returns at once for the
// rest.
constexpr int kMaxDrained = 64;

static_assert(sizeof(WakeWord::Word) == sizeof(std::uint32_t), "what a futex is");

timespec toTimespec(Clock::duration time) {
  const auto ns = std::max(std::chrono::nanoseconds::zero(), std::chrono::nanoseconds(time)).count();
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000),
          .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

long futex(WakeWord::Word& word, int operation, std::uint32_t value, const timespec* time) {
  return ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, time, nullptr,
                   FUTEX_BITSET_MATCH_ANY);
}

}  // namespace

std::pair<Doorbell, Doorbell> Doorbell::makePair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
    throw std::system_error(errno, std::generic_category(), "cannot make a doorbell");
  return {Doorbell(Kind::socket, Fd(ends[0])), Doorbell(Kind::socket, Fd(ends[1]))};
}

Doorbell Doorbell::makeEvent() {
  Fd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw std::system_error(errno, std::generic_category(), "cannot make a doorbell");
  return {Kind::event, std::move(fd)};
}

Fd Doorbell::duplicate() const {
  Fd copy(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw std::system_error(errno, std::generic_category(), "cannot pass a doorbell on");
  return copy;
}

bool Doorbell::ring() const {
  if (kind_ == Kind::none) return true;
  if (kind_ == Kind::event) {
    // Fails only where the counter is full, which takes 2^64 rings.
    constexpr std::uint64_t kOne = 1;
    return ::write(fd_.get(), &kOne, sizeof(kOne)) == sizeof(kOne) || errno == EAGAIN;
  }
  constexpr char kRing = 0;
  while (::send(fd_.get(), &kRing, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
  }
  return true;
}

bool Doorbell::drain() const {
  char ring = 0;
  for (int taken = 0; taken < kMaxDrained; ++taken) {
    const ssize_t got = ::recv(fd_.get(), &ring, 1, MSG_DONTWAIT);
    if (got > 0) continue;
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

bool Waker::wakeAsleep(Sleep how) {
  if (how == Sleep::inPoll) return bell_->ring();
  futex(peer_->futex(), FUTEX_WAKE, 1, nullptr);
  return true;
}

bool Sleeper::disarm() {
  own_->cancel();
  return bell_->drain();
}

Woken Sleeper::sleepOnFutex(Clock::time_point end, Deadline deadline) {
  const timespec until = toTimespec((deadline ? std::min(end, *deadline) : end).time_since_epoch());
  if (futex(own_->futex(), FUTEX_WAIT_BITSET, WakeWord::raw(Sleep::onFutex), &until) == 0)
    return Woken::ready;
  if (errno == EAGAIN) return Woken::ready;
  if (errno == ETIMEDOUT) return Woken::timedOut;
  if (errno == EINTR) return Woken::interrupted;
  throw std::system_error(errno, std::generic_category(), "cannot sleep on shared memory");
}

Woken Sleeper::sleepInPoll(std::span<pollfd> others, Deadline deadline) {
  if (others.size() >= kMaxPolled) throw std::length_error("too many descriptors to poll");
  std::array<pollfd, kMaxPolled> polled;
  std::copy(others.begin(), others.end(), polled.begin());
  // Where there is no bell the descriptor is -1, which poll skips.
  polled[others.size()] = {.fd = bell_->fd(), .events = POLLIN, .revents = 0};
  const timespec left = deadline ? toTimespec(*deadline - Clock::now()) : timespec{};
  const int count = ::ppoll(polled.data(), others.size() + 1, deadline ? &left : nullptr, nullptr);
  if (count < 0) {
    if (errno == EINTR) return Woken::interrupted;
    throw std::system_error(errno, std::generic_category(), "cannot poll");
  }
  if (count == 0) return Woken::timedOut;
  std::copy_n(polled.begin(), others.size(), others.begin());
  const bool rang = polled[others.size()].revents != 0;
  if (rang && !bell_->drain()) return Woken::peerGone;
  return count > (rang ? 1 : 0) ? Woken::descriptor : Woken::ready;
}

}  // namespace baton::shm
