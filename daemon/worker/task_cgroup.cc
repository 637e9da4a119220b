#include "daemon/worker/task_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ipc/cgroup.h"
#include "ipc/error.h"

namespace baton::worker {
namespace {

// A removed cgroup with memory lives on in the kernel until the cache that its tasks left is reclaimed, and
// takes some 2 KiB of memory for each CPU (0.25 MiB on a large server). So many at once are nothing; after a
// hundred thousand short tasks it would be all memory.
constexpr std::uint64_t kMostLeft = 100;
// A fresh one costs some 0.1 ms. Tasks that use more than this take longer than to care; to those of a
// millisecond, which use less, it would be a tenth, and a bound this low says as much as a measure.
constexpr std::uint64_t kSmallPeak = std::uint64_t{4} << 20;
// Of a peak, what may be an earlier task's: below that part it is as good as measured.
constexpr std::uint64_t kNoticeable = 32;

}  // namespace

TaskCgroup::TaskCgroup(std::string path) : path_(std::move(path)), oom_(OomCounter::none()) {
  make();
}

TaskCgroup::~TaskCgroup() {
  remove();
}

void TaskCgroup::make() {
  const bool fresh = ::mkdir(path_.c_str(), 0700) == 0;
  if (!fresh && errno != EEXIST) throwErrno("cannot make the cgroup " + path_);
  directory_ = shm::Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) throwErrno("cannot open the cgroup " + path_);
  const auto open = [this](const char* name, int how) {
    return shm::Fd(::openat(directory_.get(), name, how | O_CLOEXEC));
  };
  processes_ = open("cgroup.procs", O_RDWR);
  events_ = open("cgroup.events", O_RDONLY);
  if (!processes_ || !events_) {
    if (fresh) remove();
    throw Error(Code::system, path_ + " is no cgroup for tasks");
  }
  cpu_ = open("cpu.stat", O_RDONLY);
  peak_ = open("memory.peak", O_RDWR);  // since Linux 6.12 it can be reset through this descriptor
  if (!peak_) peak_ = open("memory.peak", O_RDONLY);
  oom_ = OomCounter::ofDirectory(directory_.get());
  use_ = fresh ? Use::none : Use::first;
  killed_ = false;
  cpuBefore_ = 0;
}

void TaskCgroup::remove() {
  ipc::removeCgroup(path_);
}

void TaskCgroup::begin() {
  use_ = use_ == Use::none ? Use::first : Use::again;
  if (use_ == Use::first) return;
  oom_.reset();
  cpuBefore_ = usedNs().value_or(0);
  if (!peak_) return;
  // Where it can be reset, to what is in use now, no more than that is an earlier task's.
  [[maybe_unused]] const ssize_t reset = ::pwrite(peak_.get(), "1", 1, 0);
  peakBefore_ = number(peak_.get(), "").value_or(0);
}

void TaskCgroup::renew() {
  const bool large = peak_ && number(peak_.get(), "").value_or(0) > kSmallPeak;
  if (!killed_ && !(large && mayLeaveAnother())) return;
  if (::rmdir(path_.c_str()) < 0 && errno != ENOENT) {
    remove();
    if (::access(path_.c_str(), F_OK) == 0) return;  // something is still in it
  }
  make();
}

// Those of all workers count, as the directory above tells.
bool TaskCgroup::mayLeaveAnother() const {
  const shm::Fd stat(::openat(directory_.get(), "../cgroup.stat", O_RDONLY | O_CLOEXEC));
  const auto left = number(stat.get(), "nr_dying_descendants ");
  return left && *left < kMostLeft;
}

void TaskCgroup::fill(LaunchPlan& plan) const {
  plan.cgroupDirectory = directory_.get();
  plan.cgroupProcesses = processes_.get();
}

bool TaskCgroup::populated() const {
  std::array<char, 256> text{};
  if (::pread(events_.get(), text.data(), text.size() - 1, 0) <= 0) return false;
  return std::strstr(text.data(), "populated 1") != nullptr;
}

bool TaskCgroup::kill() {
  killed_ = true;
  return ipc::killCgroup(directory_.get());
}

std::vector<pid_t> TaskCgroup::processes() const {
  return ipc::cgroupProcesses(directory_.get());
}

// The number behind `key`, or at the file's beginning.
std::optional<std::uint64_t> TaskCgroup::number(int file, const char* key) const {
  std::array<char, 1024> text{};
  if (::pread(file, text.data(), text.size() - 1, 0) <= 0) return std::nullopt;
  const char* at = std::strstr(text.data(), key);
  if (at == nullptr) return std::nullopt;
  return std::strtoull(at + std::strlen(key), nullptr, 10);
}

std::optional<TaskCgroup::Peak> TaskCgroup::peak() const {
  const auto bytes = peak_ ? number(peak_.get(), "") : std::nullopt;
  if (!bytes) return std::nullopt;
  if (use_ == Use::first) return Peak{*bytes, false};
  if (*bytes > peakBefore_) return Peak{*bytes, peakBefore_ > *bytes / kNoticeable};
  // An earlier task's. That is no help if it was a large one.
  return *bytes <= kSmallPeak ? std::optional(Peak{*bytes, true}) : std::nullopt;
}

std::optional<std::uint64_t> TaskCgroup::usedNs() const {
  const auto microseconds = cpu_ ? number(cpu_.get(), "usage_usec ") : std::nullopt;
  if (!microseconds) return std::nullopt;
  return *microseconds * 1000;
}

std::optional<std::uint64_t> TaskCgroup::cpuNs() const {
  const auto used = usedNs();
  if (!used) return std::nullopt;
  return *used - cpuBefore_;
}

}  // namespace baton::worker
