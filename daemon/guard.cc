#include "daemon/guard.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>

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

[[noreturn]] void guard(pid_t daemon) {
  ::prctl(PR_SET_NAME, "baton-guard");
  ::close_range(0, UINT_MAX, 0);
  int status = 0;
  while (true) {
    const pid_t ended = ::waitpid(-1, &status, 0);
    if (ended == daemon || (ended < 0 && errno == ECHILD)) break;
  }
  killUntilEmpty();
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

void splitGuard() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // A signal meant for the daemon's group ends the daemon, and with it the guard.
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_IGN);
  const pid_t daemon = ::fork();
  if (daemon < 0) throwErrno("cannot fork");
  if (daemon != 0) guard(daemon);
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGPIPE}) ::signal(signal, SIG_DFL);
}

}  // namespace baton::daemon
