#include "ctl/output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

// The reader has gone: end as the writer of a closed pipe does, so that pipelines and shell loops notice.
[[noreturn]] void endBySigpipe() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGPIPE, &action, nullptr);
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  ::sigprocmask(SIG_UNBLOCK, &pipe, nullptr);
  ::raise(SIGPIPE);
  ::_exit(128 + SIGPIPE);
}

[[noreturn]] void failToWrite() {
  if (errno == EPIPE) endBySigpipe();
  throwErrno("cannot write the output");
}

struct Range {
  char32_t first;
  char32_t last;
};

// What terminals draw two columns wide: East Asian wide characters and emoji (Unicode's EastAsianWidth.txt,
// joined to coarse ranges).
constexpr Range kWide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0x33ff},  {0x3400, 0x4dbf},
                           {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xac00, 0xd7a3},  {0xf900, 0xfaff},
                           {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},  {0x1f300, 0x1f64f},
                           {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};
constexpr Range kCombining[] = {{0x0300, 0x036f}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},
                                {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}};

bool isIn(const auto& ranges, char32_t letter) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [letter](const Range& range) { return letter >= range.first && letter <= range.last; });
}

unsigned widthOf(char32_t letter) {
  if (letter < 0x300) return 1;
  if (isIn(kCombining, letter)) return 0;
  return isIn(kWide, letter) ? 2 : 1;
}

// Takes one character off the front of valid UTF-8.
char32_t takeLetter(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  char32_t letter = length == 1 ? first : first & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < std::min(length, text.size()); ++i) {
    letter = letter << 6 | (static_cast<unsigned char>(text[i]) & 0x3fU);
  }
  text.remove_prefix(std::min(length, text.size()));
  return letter;
}

}  // namespace

void reserveStandardDescriptors() {
  for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest number that is free; the directory can be neither read nor written by it.
    [[maybe_unused]] const int reserved = ::open("/", O_PATH);
  }
}

void print(std::string_view text) {
  if (!text.empty() && std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) failToWrite();
}

void flushOutput() {
  if (std::fflush(stdout) != 0) failToWrite();
}

void writeAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      failToWrite();
    }
  }
}

void awaitInput(int fd) {
  pollfd polled[] = {{fd, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
  while (true) {
    ::poll(polled, std::size(polled), -1);
    if ((polled[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) return;
    if ((polled[1].revents & POLLERR) != 0) endBySigpipe();
    // A hung-up terminal, or a closed stdout, which is nobody's pipe.
    if (polled[1].revents != 0) polled[1].fd = -1;
  }
}

void complain(std::string_view text) {
  const std::string line = "batonctl: " + ipc::escape(text) + "\n";
  // Nothing can be said where stderr itself fails.
  [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, line.data(), line.size());
}

bool isTerminal(int fd) {
  return ::isatty(fd) == 1;
}

std::optional<unsigned> terminalWidth(int fd) {
  if (!isTerminal(fd)) return std::nullopt;
  constexpr unsigned kUnknown = 80;
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUnknown;
}

unsigned displayWidth(std::string_view text) {
  unsigned width = 0;
  while (!text.empty()) width += widthOf(takeLetter(text));
  return width;
}

std::string fitted(std::string_view text, unsigned columns) {
  if (displayWidth(text) <= columns) return std::string(text);
  constexpr std::string_view kCut = "...";
  if (columns <= kCut.size()) return std::string(kCut.substr(0, columns));
  std::string_view rest = text;
  unsigned width = 0;
  std::size_t kept = 0;
  while (true) {
    width += widthOf(takeLetter(rest));
    if (width > columns - kCut.size()) break;
    kept = text.size() - rest.size();
  }
  return std::string(text.substr(0, kept)) + std::string(kCut);
}

}  // namespace baton::ctl
