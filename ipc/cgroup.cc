#include "ipc/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "shm/fd.h"

namespace baton::ipc {
namespace {

using Clock = std::chrono::steady_clock;

// Each level takes a descriptor while it is removed. A task that nests deeper, to be left alone, is.
constexpr int kMaxDepth = 64;
// The kernel tells when the last process has ended; it is looked again after this, whatever it tells.
constexpr std::chrono::milliseconds kLookAgain{100};
// Nothing is in it, and yet it cannot be removed: somebody else is just removing what is below.
constexpr std::chrono::milliseconds kMoment{2};

bool removeBelow(int parent, const char* name, int depth) {
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return true;
  if (depth == kMaxDepth) return false;
  shm::Fd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return errno == ENOENT;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(fd.get()), ::closedir);
  if (!directory) return false;
  const int self = fd.release();
  // One that cannot be removed keeps only those above it.
  while (const dirent* entry = ::readdir(directory.get())) {
    if (entry->d_type != DT_DIR || std::strcmp(entry->d_name, ".") == 0 ||
        std::strcmp(entry->d_name, "..") == 0) {
      continue;
    }
    removeBelow(self, entry->d_name, depth + 1);
  }
  return ::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

// Waits for a change of the file cgroup.events.
void waitForEvent(int events, std::chrono::milliseconds atMost) {
  std::array<char, 256> text{};
  const bool readable = ::pread(events, text.data(), text.size() - 1, 0) > 0;  // and its event is armed
  const bool populated = readable && std::strstr(text.data(), "populated 1") != nullptr;
  const auto wait = std::min(atMost, populated ? kLookAgain : kMoment);
  pollfd poll{events, POLLPRI, 0};
  ::poll(&poll, populated ? 1 : 0, static_cast<int>(wait.count()));
}

}  // namespace

bool cgroupPopulated(int directory) {
  const shm::Fd events(::openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text{};
  if (!events || ::read(events.get(), text.data(), text.size() - 1) <= 0) return false;
  return std::strstr(text.data(), "populated 1") != nullptr;
}

bool killCgroup(int directory) {
  return writeCgroupFile(directory, "cgroup.kill", "1");
}

std::vector<pid_t> cgroupProcesses(int directory) {
  const shm::Fd file(::openat(directory, "cgroup.procs", O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t got = 0; file && (got = ::read(file.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  std::vector<pid_t> pids;
  const char* at = text.c_str();
  char* end = nullptr;
  for (long pid = std::strtol(at, &end, 10); end != at; pid = std::strtol(at, &end, 10)) {
    pids.push_back(static_cast<pid_t>(pid));
    at = end;
  }
  return pids;
}

bool writeCgroupFile(int directory, const char* name, std::string_view text) {
  const shm::Fd file(::openat(directory, name, O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

bool removeCgroup(const std::string& path) {
  return removeBelow(AT_FDCWD, path.c_str(), 0);
}

bool endCgroup(const std::string& path, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  const shm::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return errno == ENOENT;
  const shm::Fd events(::openat(directory.get(), "cgroup.events", O_RDONLY | O_CLOEXEC));
  if (cgroupPopulated(directory.get())) killCgroup(directory.get());
  while (!removeCgroup(path)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0 || !events) return false;
    waitForEvent(events.get(), left);
    // Whoever was moved in since.
    if (cgroupPopulated(directory.get())) killCgroup(directory.get());
  }
  return true;
}

}  // namespace baton::ipc
