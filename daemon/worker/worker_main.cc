// baton-worker: started by batond, which talks to it on a socket. Its options are for that and for `ps`.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>

#include "daemon/worker/worker.h"

namespace {

constexpr int kUsageError = 125;

struct Options {
  int socket = -1;
  int log = -1;
  std::uint64_t logLastBytes = baton::worker::kLogLastBytes;
};

template <typename Number = int>
std::optional<Number> numberBehind(std::string_view word, std::string_view prefix) {
  Number number = 0;
  if (word.substr(0, prefix.size()) != prefix) return std::nullopt;
  const auto digits = word.substr(prefix.size());
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::optional<Options> readOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (const auto socket = numberBehind(word, "--socket-fd=")) {
      options.socket = *socket;
    } else if (const auto log = numberBehind(word, "--log-fd=")) {
      options.log = *log;
    } else if (const auto last = numberBehind<std::uint64_t>(word, "--log-last=")) {
      options.logLastBytes = *last;
    } else if (!numberBehind(word, "--id=") && word != "--lane=cpu" && word != "--lane=io") {
      return std::nullopt;
    }
  }
  if (options.socket < 3) return std::nullopt;
  return options;
}

// What a child would inherit from whoever started the worker, and what could end it.
void leaveTheStartersWorld(const Options& options) {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd > 2 || fd < 0) {
      ::close(fd);
      break;
    }
    ::fcntl(fd, F_SETFD, 0);  // 0, 1 or 2 was missing
  }
  const auto low =
      static_cast<unsigned>(std::min(options.socket, options.log < 0 ? options.socket : options.log));
  const auto high = static_cast<unsigned>(std::max(options.socket, options.log));
  if (low > 3) ::close_range(3, low - 1, 0);
  if (high > low + 1) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, ~0U, 0);
  ::fcntl(options.socket, F_SETFD, FD_CLOEXEC);
  if (options.log >= 0) ::fcntl(options.log, F_SETFD, FD_CLOEXEC);

  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (::chdir("/") < 0) std::perror("baton-worker: /");
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = readOptions(argc, argv);
  if (!options) {
    std::fputs("baton-worker is started by batond, not by hand\n", stderr);
    return kUsageError;
  }
  try {
    leaveTheStartersWorld(*options);
    return baton::worker::Worker(baton::shm::Fd(options->socket), baton::shm::Fd(options->log),
                                 options->logLastBytes)
        .run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "baton-worker: %s\n", error.what());
    return kUsageError;
  }
}
