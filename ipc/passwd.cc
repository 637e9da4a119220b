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

using Field = char* passwd::*;

// The field in the first line of `file` that is `uid`'s.
std::string fieldIn(std::FILE* file, uid_t uid, Field field) {
  while (const passwd* entry = ::fgetpwent(file)) {
    if (entry->pw_uid == uid) return entry->*field;
  }
  return {};
}

std::string fieldByGetent(uid_t uid, Field field) {
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
  // A line is enough; more is nobody's entry. fgetpwent takes no pipe, but what was read from one.
  std::array<char, 4096> answer{};
  std::size_t size = 0;
  ssize_t got = 0;
  while (size < answer.size() && (got = ::read(reader.get(), &answer[size], answer.size() - size)) != 0) {
    if (got < 0 && errno != EINTR) break;
    size += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  reader.reset();
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  const File lines(size > 0 ? ::fmemopen(answer.data(), size, "r") : nullptr);
  return lines ? fieldIn(lines.get(), uid, field) : std::string();
}

std::string fieldOf(uid_t uid, Field field, const char* file) {
  const File known(std::fopen(file, "re"));
  std::string text = known ? fieldIn(known.get(), uid, field) : std::string();
  return text.empty() ? fieldByGetent(uid, field) : text;
}

}  // namespace

std::string passwdHome(uid_t uid, const char* file) {
  return fieldOf(uid, &passwd::pw_dir, file);
}

std::string passwdName(uid_t uid, const char* file) {
  return fieldOf(uid, &passwd::pw_name, file);
}

}  // namespace baton::ipc
