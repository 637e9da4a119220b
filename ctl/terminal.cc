#include "ctl/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

// Changing a terminal from the background stops the process by SIGTTOU, unless that is blocked.
class TtouBlocked {
 public:
  TtouBlocked() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU);
    ::sigprocmask(SIG_BLOCK, &set, &before_);
  }
  ~TtouBlocked() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  TtouBlocked(const TtouBlocked&) = delete;
  TtouBlocked& operator=(const TtouBlocked&) = delete;

 private:
  sigset_t before_{};
};

bool translates(int fd) {
  termios now{};
  constexpr tcflag_t kBoth = OPOST | ONLCR;
  return ::tcgetattr(fd, &now) == 0 && (now.c_oflag & kBoth) == kBoth;
}

bool setAttributes(int fd, int when, const termios& settings) {
  const TtouBlocked blocked;
  int result = 0;
  do {
    result = ::tcsetattr(fd, when, &settings);
  } while (result < 0 && errno == EINTR);
  return result == 0;
}

}  // namespace

std::optional<Terminal> Terminal::open() {
  shm::Fd fd(::open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    return std::nullopt;
  }
  return Terminal(std::move(fd));
}

Terminal::Terminal(shm::Fd fd) : fd_(std::move(fd)), foregroundAtStart_(inForeground()) {
  ::tcgetattr(fd_.get(), &atStart_);
}

Terminal::Terminal(Terminal&& other) noexcept
    : fd_(std::move(other.fd_)),
      atStart_(other.atStart_),
      foregroundAtStart_(other.foregroundAtStart_),
      saved_(std::exchange(other.saved_, std::nullopt)),
      shared_(other.shared_) {}

bool Terminal::inForeground() const {
  return ::tcgetpgrp(fd_.get()) == ::getpgrp();
}

bool Terminal::enterRaw(bool shared) {
  if (raw()) {
    return true;
  }
  termios now{};
  if (!inForeground() || ::tcgetattr(fd_.get(), &now) < 0) {
    return false;
  }
  termios wanted = now;
  ::cfmakeraw(&wanted);
  if (shared) wanted.c_oflag = now.c_oflag;
  wanted.c_cc[VMIN] = 1;
  wanted.c_cc[VTIME] = 0;
  if (!setAttributes(fd_.get(), TCSADRAIN, wanted)) {
    return false;
  }
  saved_ = now;
  shared_ = shared;
  return true;
}

void Terminal::restore() {
  const auto saved = std::exchange(saved_, std::nullopt);
  if (saved && inForeground()) {
    setAttributes(fd_.get(), TCSADRAIN, *saved);
  }
}

bool Terminal::translatesNewlines() const {
  return translates(fd_.get());
}

void Terminal::translateNewlines(bool on) {
  termios now{};
  if (!raw() || !inForeground() || ::tcgetattr(fd_.get(), &now) < 0) {
    return;
  }
  now.c_oflag = on ? saved_->c_oflag : now.c_oflag & ~tcflag_t{OPOST};
  setAttributes(fd_.get(), TCSADRAIN, now);
}

void Terminal::copySizeTo(int master) const {
  winsize size{};
  if (::ioctl(fd_.get(), TIOCGWINSZ, &size) == 0) {
    ::ioctl(master, TIOCSWINSZ, &size);
  }
}

void Terminal::copySettingsTo(int master) const {
  if (foregroundAtStart_) {
    ::tcsetattr(master, TCSANOW, &atStart_);
    return;
  }
  termios settings{};
  if (::tcgetattr(master, &settings) == 0) {
    settings.c_iflag = (settings.c_iflag & ~tcflag_t{IUTF8}) | (atStart_.c_iflag & IUTF8);
    ::tcsetattr(master, TCSANOW, &settings);
  }
}

std::uint8_t standardTerminals() {
  std::uint8_t terminals = 0;
  for (int fd = 0; fd < 3; ++fd) {
    if (::tcgetpgrp(fd) >= 0) terminals = static_cast<std::uint8_t>(terminals | 1U << fd);
  }
  return terminals;
}

}  // namespace baton::ctl
