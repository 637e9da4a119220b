#include "daemon/reaper.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <utility>

#include "daemon/strays.h"
#include "ipc/cgroup.h"

namespace baton::daemon {
namespace {

constexpr std::chrono::nanoseconds kGiveUpAfter = std::chrono::seconds(10);
// One that does not die keeps the others waiting for so long at a time.
constexpr std::chrono::milliseconds kCgroupTurn{100};

}  // namespace

Reaper::Reaper(Loop& loop, Pool& pool) : pool_(pool), background_(loop) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal_ = loop.onSignal(SIGCHLD, [this] { childrenDied(); });
  deadline_ = loop.onTimer([this] { settle(true); });
}

bool Reaper::nothingLeft() const {
  for (const std::int32_t child : ownChildren()) {
    if (!isHolderProcess(child)) return false;
  }
  return cgroups_.empty();
}

void Reaper::childrenDied() {
  bool strays = false;
  while (true) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0) break;
    const WorkerId worker = pool_.reaped(info.si_pid, info.si_code, info.si_status);
    if (worker != 0) {
      dead_.push_back(worker);
      if (const auto cgroup = pool_.cgroupOf(worker); !cgroup.empty()) {
        cgroups_.push_back(cgroup);
        endCgroup(cgroup);
      }
    } else {
      strays = true;
    }
  }
  if (!dead_.empty() || sweeping_ || strays) settle(false);
}

// A worker that ended by itself has removed it: that is seen at once.
void Reaper::endCgroup(const std::string& directory) {
  const auto gone = std::make_shared<bool>(false);
  background_.run([directory, gone] { *gone = ipc::endCgroup(directory, kCgroupTurn); },
                  [this, directory, gone] {
                    const auto found = std::find(cgroups_.begin(), cgroups_.end(), directory);
                    if (found == cgroups_.end()) return;  // it was given up
                    if (!*gone) return endCgroup(directory);
                    cgroups_.erase(found);
                    settle(false);
                  });
}

bool Reaper::spares(std::int32_t pid) const {
  return pool_.isWorker(pid) || pool_.isHolder(pid) || isHolderProcess(pid);
}

std::vector<std::int32_t> Reaper::escaped() const {
  std::vector<std::int32_t> pids;
  for (const std::int32_t child : ownChildren()) {
    if (!spares(child)) pids.push_back(child);
  }
  for (const auto& cgroup : cgroups_) {
    const shm::Fd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const auto inside = ipc::cgroupProcesses(directory.get());
    pids.insert(pids.end(), inside.begin(), inside.end());
  }
  return pids;
}

void Reaper::settle(bool giveUp) {
  const std::size_t killed = killStrays([this](std::int32_t pid) { return spares(pid); });
  straysEnded_ += killed;
  if ((killed > 0 || !cgroups_.empty()) && !giveUp) {
    if (!sweeping_) deadline_.arm(kGiveUpAfter);
    sweeping_ = true;
    return;
  }
  const auto left = giveUp ? escaped() : std::vector<std::int32_t>();
  sweeping_ = false;
  cgroups_.clear();
  deadline_.disarm();
  for (const WorkerId worker : std::exchange(dead_, {})) pool_.bury(worker, left);
  if (onChange) onChange();
}

}  // namespace baton::daemon
