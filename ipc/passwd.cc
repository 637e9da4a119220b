#include "ipc/passwd.h"

#include <fcntl.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "shm/fd.h"

extern char** environ;

namespace baton::ipc {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// The home in the first line of `file` that is `uid`'s.
std::string homeIn(std::FILE* file, uid_t uid) {
  while (const passwd* entry = ::fgetpwent(file)) {
    if (entry->pw_uid == uid) return entry->pw_dir;
  }
  return {};
}

std::string homeByGetent(uid_t uid) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return {};
  shm::Fd reader(ends[0]);
  shm::Fd writer(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writer.get(), STDOUT_FILENO);
  std::string name = "getent";
  std::string database = "passwd";
  std::string key = std::to_string(uid);
  std::array<char*, 4> argv{name.data(), database.data(), key.data(), nullptr};
  pid_t pid = 0;
  const int failed = ::posix_spawnp(&pid, "getent", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  writer.reset();
  if (failed != 0) return {};
  std::string home;
  if (const File answer(::fdopen(reader.get(), "r")); answer) {
    [[maybe_unused]] const int owned = reader.release();
    home = homeIn(answer.get(), uid);
  }
  reader.reset();
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return home;
}

}  // namespace

std::string passwdHome(uid_t uid, const char* file) {
  const File known(std::fopen(file, "re"));
  std::string home = known ? homeIn(known.get(), uid) : std::string();
  return home.empty() ? homeByGetent(uid) : home;
}

}  // namespace baton::ipc
