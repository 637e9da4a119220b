#include "daemon/strays.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "shm/fd.h"

namespace baton::daemon {
namespace {

std::string readSmall(const char* path) {
  const shm::Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> buffer{};
  ssize_t got = 0;
  while (file && (got = ::read(file.get(), buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

// The parent in a line of /proc/PID/stat; the name in it may hold anything, so its last ')' counts.
std::int32_t parentIn(const std::string& stat) {
  const auto name = stat.rfind(')');
  int parent = 0;
  char state = 0;
  if (name == std::string::npos || std::sscanf(stat.c_str() + name + 1, " %c %d", &state, &parent) != 2)
    return 0;
  return parent;
}

// Kernels without CONFIG_PROC_CHILDREN: every process is asked for its parent.
std::vector<std::int32_t> childrenByScan() {
  std::vector<std::int32_t> result;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/proc"), ::closedir);
  const std::int32_t self = ::getpid();
  while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    const std::string path = std::string("/proc/") + entry->d_name + "/stat";
    if (parentIn(readSmall(path.c_str())) == self) result.push_back(std::atoi(entry->d_name));
  }
  return result;
}

}  // namespace

std::vector<std::int32_t> ownChildren() {
  const std::string pid = std::to_string(::getpid());
  const std::string path = "/proc/" + pid + "/task/" + pid + "/children";
  if (::access(path.c_str(), R_OK) != 0) return childrenByScan();
  const std::string text = readSmall(path.c_str());
  std::vector<std::int32_t> result;
  const char* at = text.c_str();
  char* end = nullptr;
  for (long child = std::strtol(at, &end, 10); end != at; child = std::strtol(at, &end, 10)) {
    result.push_back(static_cast<std::int32_t>(child));
    at = end;
  }
  return result;
}

bool isHolderProcess(std::int32_t pid) {
  const std::string name = readSmall(("/proc/" + std::to_string(pid) + "/comm").c_str());
  return name == "baton-holder\n";
}

std::size_t killStrays(const std::function<bool(std::int32_t)>& spare) {
  std::size_t count = 0;
  for (const std::int32_t child : ownChildren()) {
    if (spare(child)) continue;
    ::kill(child, SIGKILL);
    ++count;
  }
  return count;
}

}  // namespace baton::daemon
