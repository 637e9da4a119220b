#include "daemon/reaper.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <utility>

#include "daemon/strays.h"

namespace baton::daemon {
namespace {

constexpr std::chrono::nanoseconds kGiveUpAfter = std::chrono::seconds(10);

}  // namespace

Reaper::Reaper(Loop& loop, Pool& pool) : pool_(pool) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  signal_ = loop.onSignal(SIGCHLD, [this] { childrenDied(); });
  deadline_ = loop.onTimer([this] { settle(true); });
}

bool Reaper::nothingLeft() const {
  for (const std::int32_t child : ownChildren()) {
    if (!isHolderProcess(child)) return false;
  }
  return true;
}

void Reaper::childrenDied() {
  bool strays = false;
  while (true) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0) break;
    const WorkerId worker = pool_.reaped(info.si_pid, info.si_code, info.si_status);
    if (worker != 0) {
      dead_.push_back(worker);
    } else {
      strays = true;
    }
  }
  if (!dead_.empty() || sweeping_ || strays) settle(false);
}

void Reaper::settle(bool giveUp) {
  const auto spare = [this](std::int32_t pid) {
    return pool_.isWorker(pid) || pool_.isHolder(pid) || isHolderProcess(pid);
  };
  const std::size_t killed = killStrays(spare);
  straysEnded_ += killed;
  if (killed > 0 && !giveUp) {
    if (!sweeping_) deadline_.arm(kGiveUpAfter);
    sweeping_ = true;
    return;
  }
  std::vector<std::int32_t> escaped;
  if (giveUp) {
    for (const std::int32_t child : ownChildren()) {
      if (!spare(child)) escaped.push_back(child);
    }
  }
  sweeping_ = false;
  deadline_.disarm();
  for (const WorkerId worker : std::exchange(dead_, {})) pool_.bury(worker, escaped);
  if (onChange) onChange();
}

}  // namespace baton::daemon
