#include "daemon/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr int kWorkerFd = 3;

class SpawnSetup {
 public:
  explicit SpawnSetup(int socket) {
    ::posix_spawn_file_actions_init(&actions);
    // dup2 onto itself would keep the close-on-exec flag: glibc clears it in that case (POSIX 2024 asks for
    // it).
    ::posix_spawn_file_actions_adddup2(&actions, socket, kWorkerFd);
    ::posix_spawn_file_actions_addclosefrom_np(&actions, kWorkerFd + 1);
    ::posix_spawnattr_init(&attributes);
    sigset_t signals;
    ::sigfillset(&signals);
    ::posix_spawnattr_setsigdefault(&attributes, &signals);
    ::sigemptyset(&signals);
    ::posix_spawnattr_setsigmask(&attributes, &signals);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnSetup() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

}  // namespace

Spawned spawnWorker(const std::string& program, const std::vector<std::string>& arguments) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) throwErrno("cannot make a socket");
  shm::Fd ours(ends[0]);
  const shm::Fd theirs(ends[1]);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char path[] = "PATH=/usr/local/bin:/usr/bin:/bin";
  char* environment[] = {path, nullptr};
  const SpawnSetup setup(theirs.get());
  pid_t pid = 0;
  const int failed =
      ::posix_spawn(&pid, program.c_str(), &setup.actions, &setup.attributes, argv.data(), environment);
  if (failed != 0) {
    throw Error(Code::system, "cannot start " + program + ": " + std::strerror(failed));
  }
  return {pid, std::move(ours)};
}

}  // namespace baton::daemon
