#include "daemon/worker/task_cgroup.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "ipc/error.h"

namespace baton::worker {
namespace {

shm::Fd openDirectory(const std::string& path) {
  shm::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throwErrno("cannot open the task's cgroup");
  return fd;
}

}  // namespace

TaskCgroup::TaskCgroup(const std::string& directory)
    : directory_(openDirectory(directory)),
      processes_(::openat(directory_.get(), "cgroup.procs", O_RDWR | O_CLOEXEC)),
      events_(::openat(directory_.get(), "cgroup.events", O_RDONLY | O_CLOEXEC)),
      oom_(OomCounter::ofDirectory(directory_.get())) {}

void TaskCgroup::fill(LaunchPlan& plan) const {
  plan.cgroupDirectory = directory_.get();
  plan.cgroupProcesses = processes_.get();
}

std::string TaskCgroup::read(const char* name) const {
  const shm::Fd file(::openat(directory_.get(), name, O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part;
  for (ssize_t got = 0; file && (got = ::read(file.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  return text;
}

bool TaskCgroup::populated() const {
  std::array<char, 256> text{};
  if (!events_ || ::pread(events_.get(), text.data(), text.size() - 1, 0) <= 0) return false;
  return std::strstr(text.data(), "populated 1") != nullptr;
}

bool TaskCgroup::kill() const {
  const shm::Fd file(::openat(directory_.get(), "cgroup.kill", O_WRONLY | O_CLOEXEC));
  return file && ::write(file.get(), "1", 1) == 1;
}

std::vector<pid_t> TaskCgroup::processes() const {
  std::istringstream numbers(read("cgroup.procs"));
  std::vector<pid_t> pids;
  for (pid_t pid = 0; numbers >> pid;) pids.push_back(pid);
  return pids;
}

std::optional<std::uint64_t> TaskCgroup::number(const char* name, const std::string& key) const {
  const auto text = read(name);
  const auto at = key.empty() ? 0 : text.find(key + " ");
  if (text.empty() || at == std::string::npos) return std::nullopt;
  return std::strtoull(text.c_str() + at + key.size(), nullptr, 10);
}

std::optional<std::uint64_t> TaskCgroup::peakBytes() const {
  return number("memory.peak", "");
}

std::optional<std::uint64_t> TaskCgroup::cpuNs() const {
  const auto microseconds = number("cpu.stat", "usage_usec");
  if (!microseconds) return std::nullopt;
  return *microseconds * 1000;
}

}  // namespace baton::worker
