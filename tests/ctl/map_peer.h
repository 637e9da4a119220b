// Runs programs for the tests of `map`, above all the real GNU parallel that they compare with.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "shm/fd.h"

namespace baton::ctl::map::test {

struct Outcome {
  std::string out;
  std::string err;
  int status = -1;  // as a shell's $?
};

inline shm::Fd temporaryFile(std::string_view content = {}) {
  shm::Fd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file || ::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    throw std::runtime_error("no temporary file");
  }
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

inline std::string contentOf(int fd) {
  std::string content;
  ::lseek(fd, 0, SEEK_SET);
  char bytes[65536];
  for (ssize_t length = 0; (length = ::read(fd, bytes, sizeof bytes)) > 0;) {
    content.append(bytes, static_cast<std::size_t>(length));
  }
  return content;
}

inline Outcome run(const std::vector<std::string>& words, std::string_view input = {}) {
  const shm::Fd in = temporaryFile(input);
  const shm::Fd out = temporaryFile();
  const shm::Fd err = temporaryFile();
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, err.get(), 2);
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) return {"", "", 127};
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return {contentOf(out.get()), contentOf(err.get()),
          WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)};
}

// GNU parallel with one job at a time in the order of the input, its lines run by bash, whatever the user's
// profile says.
inline Outcome parallel(const std::vector<std::string>& words, std::string_view input = {}) {
  std::vector<std::string> all{"env", "PARALLEL_SHELL=/bin/bash", "parallel", "--plain", "--will-cite", "-j1",
                               "-k"};
  all.insert(all.end(), words.begin(), words.end());
  return run(all, input);
}

inline bool haveParallel() {
  static const bool have = run({"parallel", "--version"}).out.starts_with("GNU parallel");
  return have;
}

}  // namespace baton::ctl::map::test

#define SKIP_WITHOUT_PARALLEL()               \
  if (!baton::ctl::map::test::haveParallel()) \
  GTEST_SKIP() << "GNU parallel is not installed: nothing to compare with"
