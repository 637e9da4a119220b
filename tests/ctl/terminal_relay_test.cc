// The relay between two real pseudo-terminals: a child process has the outer one as its controlling terminal,
// as batonctl would, and runs the relay between it and an inner one.
#include "ctl/terminal_relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string>

#include "ctl/output.h"

namespace baton::ctl {
namespace {

constexpr int kFailed = 99;

// Runs `body` in a process whose controlling terminal is a new pseudo-terminal; the test has the other side.
class OnTerminal {
 public:
  template <typename Body>
  explicit OnTerminal(Body body) {
    int master = -1;
    pid_ = ::forkpty(&master, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      ::alarm(60);
      int code = kFailed;
      try {
        code = body();
      } catch (...) {
      }
      ::_exit(code);
    }
    user_ = shm::Fd(master);
  }
  ~OnTerminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  int user() const { return user_.get(); }
  // Everything shown until the process ends.
  std::string readAll() {
    std::string all;
    char buffer[4096];
    ssize_t got = 0;
    while ((got = ::read(user_.get(), buffer, sizeof(buffer))) > 0) {
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }
  std::string readUntil(const std::string& text) {
    std::string all;
    char byte = 0;
    while (all.find(text) == std::string::npos && ::read(user_.get(), &byte, 1) == 1) all.push_back(byte);
    return all;
  }
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : kFailed;
  }

 private:
  pid_t pid_ = -1;
  shm::Fd user_;
};

struct Pair {
  Pair() {
    int masterEnd = -1;
    int slaveEnd = -1;
    if (::openpty(&masterEnd, &slaveEnd, nullptr, nullptr, nullptr) != 0) ::_exit(kFailed);
    master = shm::Fd(masterEnd);
    slave = shm::Fd(slaveEnd);
    ::fcntl(masterEnd, F_SETFD, FD_CLOEXEC);
  }
  shm::Fd master;
  shm::Fd slave;
};

// The relay's loop until `child`, which has the pair's other side, has ended and all is carried.
void relayUntilEnd(TerminalRelay& relay, pid_t child) {
  bool ended = false;
  while (!ended || !relay.drained()) {
    pollfd polled[2];
    relay.prepare(polled[0], polled[1]);
    ::poll(polled, 2, 10);
    relay.handle(polled[0], polled[1]);
    if (!ended) ended = ::waitpid(child, nullptr, WNOHANG) == child;
  }
}

// A process on the pair's slave side.
template <typename Body>
pid_t onSlave(Pair& pair, Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    pair.master.reset();
    body(pair.slave.get());
    ::_exit(0);
  }
  pair.slave.reset();
  return child;
}

std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

void writeTo(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = ::write(fd, text.data() + done, text.size() - done);
    if (put <= 0) ::_exit(kFailed);
    done += static_cast<std::size_t>(put);
  }
}

std::string withCarriageReturns(const std::string& text) {
  std::string result;
  for (const char byte : text) result += byte == '\n' ? "\r\n" : std::string(1, byte);
  return result;
}

// In raw mode the pseudo-terminal's newlines go out as they are; else they are translated once, not twice. A
// reader that is slow at first (nobody reads before the task has filled every buffer) loses nothing.
class CarriesOutput : public ::testing::TestWithParam<bool> {};

TEST_P(CarriesOutput, WithoutLossAndTranslatedOnce) {
  const bool raw = GetParam();
  const std::string text = numbers(100'000);
  OnTerminal process([&] {
    auto terminal = Terminal::open();
    if (!terminal || (raw && !terminal->enterRaw())) return kFailed;
    Pair pair;
    const pid_t child = onSlave(pair, [&](int slave) { writeTo(slave, text); });
    TerminalRelay relay(*terminal);
    relay.attach(std::move(pair.master));
    relayUntilEnd(relay, child);
    return 0;
  });
  EXPECT_EQ(process.readAll(), withCarriageReturns(text));
  EXPECT_EQ(process.wait(), 0);
}

INSTANTIATE_TEST_SUITE_P(RawAndNot, CarriesOutput, ::testing::Bool());

TEST(TerminalRelay, CarriesWhatIsTypedByteForByteWhileRaw) {
  const std::string typed("a\x03\x1a\x04\x7f\xff\r\n~", 9);
  OnTerminal process([&] {
    auto terminal = Terminal::open();
    if (!terminal || !terminal->enterRaw()) return kFailed;
    Pair pair;
    termios settings{};
    ::tcgetattr(pair.slave.get(), &settings);
    ::cfmakeraw(&settings);
    ::tcsetattr(pair.slave.get(), TCSANOW, &settings);
    const pid_t child = onSlave(pair, [&](int slave) {
      writeTo(slave, "ready");
      std::string got;
      char byte = 0;
      while (got.size() < typed.size() && ::read(slave, &byte, 1) == 1) got.push_back(byte);
      writeTo(slave, got == typed ? "same" : "other");
    });
    TerminalRelay relay(*terminal);
    relay.attach(std::move(pair.master));
    relayUntilEnd(relay, child);
    return 0;
  });
  process.readUntil("ready");
  writeTo(process.user(), typed);
  EXPECT_EQ(process.readAll(), "same");
}

TEST(TerminalRelay, GivesSizeAndSettings) {
  OnTerminal process([] {
    auto terminal = Terminal::open();
    if (!terminal) return kFailed;
    winsize size{33, 77, 0, 0};
    ::ioctl(terminal->fd(), TIOCSWINSZ, &size);
    termios settings{};
    ::tcgetattr(terminal->fd(), &settings);
    settings.c_cc[VERASE] = 'x';
    ::tcsetattr(terminal->fd(), TCSANOW, &settings);
    auto again = Terminal::open();
    Pair pair;
    TerminalRelay relay(*again);
    relay.attach(std::move(pair.master));
    relay.copySizeToMaster();
    relay.copySettingsToMaster();
    ::ioctl(pair.slave.get(), TIOCGWINSZ, &size);
    ::tcgetattr(pair.slave.get(), &settings);
    return size.ws_row == 33 && size.ws_col == 77 && settings.c_cc[VERASE] == 'x' ? 0 : 1;
  });
  process.readAll();
  EXPECT_EQ(process.wait(), 0);
}

TEST(Terminal, IsRestoredWhenItsOwnerEnds) {
  OnTerminal process([] {
    termios before{};
    ::tcgetattr(0, &before);
    termios during{};
    {
      auto terminal = Terminal::open();
      if (!terminal || !terminal->enterRaw()) return kFailed;
      ::tcgetattr(0, &during);
    }
    termios after{};
    ::tcgetattr(0, &after);
    const bool wasRaw = (during.c_lflag & (ICANON | ECHO | ISIG)) == 0;
    return wasRaw && after.c_lflag == before.c_lflag && after.c_oflag == before.c_oflag ? 0 : 1;
  });
  process.readAll();
  EXPECT_EQ(process.wait(), 0);
}

TEST(Terminal, IsNotTakenFromTheBackground) {
  OnTerminal process([] {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setpgid(0, 0);
      auto terminal = Terminal::open();
      ::_exit(terminal && !terminal->inForeground() && !terminal->enterRaw() ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : kFailed;
  });
  process.readAll();
  EXPECT_EQ(process.wait(), 0);
}

TEST(Terminal, ThereIsNoneWithoutAControllingTerminal) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setsid();
    int master = -1;
    int slave = -1;
    ::openpty(&master, &slave, nullptr, nullptr, nullptr);
    ::dup2(slave, 0);
    ::dup2(slave, 1);
    const bool none = !Terminal::open() && (standardTerminals() & 3U) == 0;
    ::_exit(none ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Output, ClosedStandardDescriptorsStayClosedAndTheirNumbersTaken) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(0);
    ::close(2);
    reserveStandardDescriptors();
    char byte = 0;
    const bool closed = ::read(0, &byte, 1) < 0 && errno == EBADF && ::write(2, "x", 1) < 0 && errno == EBADF;
    ::_exit(closed && ::open("/dev/null", O_RDONLY) > 2 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace baton::ctl
