#include "daemon/worker/memory_events.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <sstream>

namespace baton::worker {
namespace {

std::string readAll(const char* path) {
  const shm::Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got = 0; file && (got = ::read(file.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  return text;
}

bool listHas(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// The path of this process in the hierarchy that `controller` names; "" is v2.
std::string pathOf(const std::string& cgroups, const std::string& controller) {
  std::istringstream lines(cgroups);
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : listHas(controllers, controller))
      return line.substr(second + 1);
  }
  return {};
}

struct Mount {
  std::string root;
  std::string point;
};

// The mount of v2 (`controller` empty) or of the v1 hierarchy with `controller`.
std::optional<Mount> mountOf(const std::string& mounts, const std::string& controller) {
  std::istringstream lines(mounts);
  for (std::string line; std::getline(lines, line);) {
    const auto separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    std::istringstream front(line.substr(0, separator));
    std::istringstream back(line.substr(separator + 3));
    std::string skipped;
    Mount mount;
    front >> skipped >> skipped >> skipped >> mount.root >> mount.point;
    std::string type;
    std::string options;
    back >> type >> skipped >> options;
    if (controller.empty() ? type == "cgroup2" : type == "cgroup" && listHas(options, controller))
      return mount;
  }
  return std::nullopt;
}

std::string directoryOf(const std::string& cgroups, const std::string& mounts,
                        const std::string& controller) {
  auto path = pathOf(cgroups, controller);
  const auto mount = mountOf(mounts, controller);
  if (path.empty() || !mount) return {};
  // A container sees a part of the hierarchy: the mount's root is the beginning of the path.
  if (mount->root != "/" && path.rfind(mount->root, 0) == 0) path.erase(0, mount->root.size());
  return mount->point + path;
}

}  // namespace

std::string oomFilePath(const std::string& cgroups, const std::string& mounts) {
  // Where both are mounted, memory belongs to the one whose line in /proc/self/cgroup names it: v1.
  const auto v1 = directoryOf(cgroups, mounts, "memory");
  if (!v1.empty()) return v1 + "/memory.oom_control";
  const auto v2 = directoryOf(cgroups, mounts, "");
  return v2.empty() ? v2 : v2 + "/memory.events";
}

OomCounter::OomCounter(shm::Fd file) : file_(std::move(file)) {
  last_ = read().value_or(0);
}

OomCounter OomCounter::ofSelf() {
  const auto path = oomFilePath(readAll("/proc/self/cgroup"), readAll("/proc/self/mountinfo"));
  return OomCounter(shm::Fd(path.empty() ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC)));
}

OomCounter OomCounter::ofDirectory(int directory) {
  return OomCounter(shm::Fd(::openat(directory, "memory.events", O_RDONLY | O_CLOEXEC)));
}

std::optional<std::uint64_t> OomCounter::read() const {
  std::array<char, 1024> text{};
  if (!file_ || ::pread(file_.get(), text.data(), text.size() - 1, 0) <= 0) return std::nullopt;
  const char* line = std::strstr(text.data(), "oom_kill ");
  if (line == nullptr) return std::nullopt;
  return std::strtoull(line + std::strlen("oom_kill "), nullptr, 10);
}

bool OomCounter::struck() {
  const auto now = read();
  if (!now || *now <= last_) return false;
  last_ = *now;
  return true;
}

}  // namespace baton::worker
