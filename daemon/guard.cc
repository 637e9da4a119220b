#include "daemon/guard.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <utility>

#include "daemon/cgroup_tree.h"
#include "daemon/strays.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr int kGiveUpAfterSeconds = 10;

// Children are killed in rounds: killing a process makes its own children ours.
void killUntilEmpty() {
  ::alarm(kGiveUpAfterSeconds);
  while (true) {
    if (killStrays(isHolderProcess) == 0) return;
    int status = 0;
    if (::waitpid(-1, &status, 0) < 0 && errno == ECHILD) return;
    while (::waitpid(-1, &status, WNOHANG) > 0) {
    }
  }
}

// What the daemon said; it is dead.
std::string cgroupsTold(int line) {
  std::array<char, PATH_MAX> text{};
  const ssize_t got = ::read(line, text.data(), text.size());
  return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

[[noreturn]] void guard(pid_t daemon, int line) {
  ::prctl(PR_SET_NAME, "baton-guard");
  ::dup2(line, 0);
  ::close_range(1, UINT_MAX, 0);
  int status = 0;
  while (true) {
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended == daemon || (ended < 0 && errno == ECHILD)) break;
  }
  const std::string cgroups = cgroupsTold(0);
  if (!cgroups.empty()) killCgroupLanes(cgroups);
  killUntilEmpty();
  if (!cgroups.empty()) endCgroupTree(cgroups);
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

void Guard::tellCgroups(const std::string& base) const {
  if (!line) return;
  [[maybe_unused]] const ssize_t wrote = ::write(line.get(), base.data(), base.size());
}

Guard splitGuard() {
  int ends[2];
  // Neither side ever waits for the other: what is said is in the pipe or is not.
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) throwErrno("cannot make a pipe");
  const shm::Fd reader(ends[0]);
  shm::Fd writer(ends[1]);
  const pid_t self = ::getpid();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // A signal meant for the daemon's group ends the daemon, and with it the guard.
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  const pid_t daemon = ::fork();
  if (daemon < 0) throwErrno("cannot fork");
  if (daemon != 0) guard(daemon, reader.get());
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_DFL);
  return {::getppid() == self ? self : 0, std::move(writer)};
}

}  // namespace baton::daemon
