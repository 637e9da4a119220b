#include "daemon/worker/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <unordered_map>

#include "shm/fd.h"

namespace baton::worker {
namespace {

// A tree that still grows after that many looks is a fork bomb, which no signal but KILL ends.
constexpr int kSignalRounds = 8;

// The whole of a file of /proc, up to the buffer's size; 0 if it cannot be read.
std::size_t readFile(const char* path, char* buffer, std::size_t size) {
  const shm::Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return 0;
  const ssize_t got = ::read(file.get(), buffer, size - 1);
  buffer[got > 0 ? got : 0] = '\0';
  return got > 0 ? static_cast<std::size_t>(got) : 0;
}

// The fields behind "(comm) ", which may itself hold blanks and parentheses.
ProcessStat parseStat(const char* text) {
  ProcessStat stat;
  stat.pid = std::atoi(text);
  const char* field = std::strrchr(text, ')');
  if (field == nullptr || field[1] == '\0') return stat;
  field += 2;
  stat.state = *field;
  for (int number = 4; number <= 22; ++number) {
    field = std::strchr(field, ' ');
    if (field == nullptr) return stat;
    ++field;
    if (number == 4) stat.parent = std::atoi(field);
    if (number >= 14 && number <= 17) stat.ticks += std::strtoull(field, nullptr, 10);
    if (number == 20) stat.threads = std::atoi(field);
    if (number == 22) stat.startTicks = std::strtoull(field, nullptr, 10);
  }
  return stat;
}

std::optional<ProcessStat> readStatFile(const std::string& path) {
  std::array<char, 1024> buffer;
  if (readFile(path.c_str(), buffer.data(), buffer.size()) == 0) return std::nullopt;
  return parseStat(buffer.data());
}

// Calls `take(number)` for every directory of that is a number.
template <typename Take>
void forEachNumber(const char* directory, Take take) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory), ::closedir);
  while (dir) {
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    pid_t number = 0;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    const auto parsed = std::from_chars(entry->d_name, end, number);
    if (parsed.ec == std::errc() && parsed.ptr == end) take(number);
  }
}

std::unordered_map<pid_t, ProcessStat> allProcesses() {
  std::unordered_map<pid_t, ProcessStat> all;
  forEachNumber("/proc", [&](pid_t pid) {
    if (const auto stat = readProcessStat(pid)) all.emplace(pid, *stat);
  });
  return all;
}

// A file "children" of a thread; nullopt: there is none.
std::optional<std::vector<pid_t>> readChildren(const std::string& path) {
  const shm::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got = 0; (got = ::read(file.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  std::vector<pid_t> children;
  for (const char* at = text.c_str(); *at != '\0';) {
    char* end = nullptr;
    const long pid = std::strtol(at, &end, 10);
    if (end == at) break;
    children.push_back(static_cast<pid_t>(pid));
    at = end + std::strspn(end, " \n");
  }
  return children;
}

bool contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool isBelow(const std::unordered_map<pid_t, ProcessStat>& all, pid_t pid, pid_t top,
             const std::vector<pid_t>& stopAt) {
  // Parents read at different moments could form a circle.
  for (std::size_t depth = 0; depth <= all.size(); ++depth) {
    if (contains(stopAt, pid)) return false;
    const auto found = all.find(pid);
    if (found == all.end()) return false;
    if (found->second.parent == top) return true;
    pid = found->second.parent;
  }
  return false;
}

// False: it is not that process any more.
bool signalExactly(const ProcessStat& process, int signal) {
  const shm::Fd handle(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  const auto now = readProcessStat(process.pid);
  if (!now || now->startTicks != process.startTicks) return false;
  if (!handle) {
    // A kernel without pidfd_open: the look just taken is the best there is.
    return errno == ENOSYS && ::kill(process.pid, signal) == 0;
  }
  return ::syscall(SYS_pidfd_send_signal, handle.get(), signal, nullptr, 0) == 0;
}

}  // namespace

std::optional<ProcessStat> readProcessStat(pid_t pid) {
  return readStatFile("/proc/" + std::to_string(pid) + "/stat");
}

std::vector<pid_t> childrenOfSelf() {
  const auto children = readChildren("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  return children ? *children : childrenOfSelfByScan();
}

std::vector<pid_t> childrenOfSelfByScan() {
  const pid_t self = ::getpid();
  std::vector<pid_t> children;
  forEachNumber("/proc", [&](pid_t pid) {
    const auto stat = readProcessStat(pid);
    if (stat && stat->parent == self) children.push_back(pid);
  });
  return children;
}

std::vector<ProcessStat> descendantsOfSelf(const Excluded& excluded) {
  const auto all = allProcesses();
  const pid_t self = ::getpid();
  std::vector<ProcessStat> result;
  for (const auto& [pid, stat] : all) {
    if (!contains(excluded.alone, pid) && isBelow(all, pid, self, excluded.whole)) result.push_back(stat);
  }
  return result;
}

std::vector<ProcessStat> glanceAtDescendants(const Excluded& excluded) {
  std::vector<ProcessStat> result;
  auto left = childrenOfSelf();
  while (!left.empty()) {
    const pid_t pid = left.back();
    left.pop_back();
    const auto stat = readProcessStat(pid);
    if (!stat || contains(excluded.whole, pid)) continue;
    if (!contains(excluded.alone, pid)) result.push_back(*stat);
    const auto tasks = "/proc/" + std::to_string(pid) + "/task";
    bool told = false;
    forEachNumber(tasks.c_str(), [&](pid_t thread) {
      const auto children = readChildren(tasks + "/" + std::to_string(thread) + "/children");
      told = told || children.has_value();
      if (children) left.insert(left.end(), children->begin(), children->end());
    });
    // A kernel without such files, or it has just ended.
    if (!told && readProcessStat(pid)) return descendantsOfSelf(excluded);
  }
  return result;
}

void signalDescendants(int signal, const Excluded& excluded) {
  std::set<std::pair<pid_t, std::uint64_t>> done;
  for (int round = 0; round < kSignalRounds; ++round) {
    bool any = false;
    for (const auto& process : descendantsOfSelf(excluded)) {
      if (process.state == 'Z' || !done.emplace(process.pid, process.startTicks).second) continue;
      any = true;
      signalExactly(process, signal);
    }
    if (!any) return;
  }
}

bool signalChildOf(pid_t parent, pid_t pid, int signal) {
  const auto stat = readProcessStat(pid);
  return stat && stat->parent == parent && signalExactly(*stat, signal);
}

bool isRunnable(const ProcessStat& process) {
  if (process.state == 'R' || process.threads <= 1) return process.state == 'R';
  const auto directory = "/proc/" + std::to_string(process.pid) + "/task";
  bool runnable = false;
  forEachNumber(directory.c_str(), [&](pid_t thread) {
    const auto stat = readStatFile(directory + "/" + std::to_string(thread) + "/stat");
    runnable = runnable || (stat && stat->state == 'R');
  });
  return runnable;
}

}  // namespace baton::worker
