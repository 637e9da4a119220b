#include "daemon/worker/tree_end.h"

#include <algorithm>
#include <csignal>

#include "daemon/worker/process_tree.h"

namespace baton::worker {
namespace {

// After that many rounds they are spaced, and reach for the whole tree at once.
constexpr int kQuickRounds = 16;
constexpr Duration kSpacing = std::chrono::milliseconds(2);
constexpr Duration kLongestSpacing = std::chrono::milliseconds(100);

}  // namespace

void TreeEnd::begin(Time now, TaskCgroup* cgroup) {
  cgroup_ = cgroup;
  begin_ = now;
  next_ = now;
}

bool TreeEnd::isSpared(pid_t pid) const {
  return std::find(spared_.begin(), spared_.end(), pid) != spared_.end();
}

std::vector<pid_t> TreeEnd::left() const {
  auto pids = childrenOfSelfByScan();
  if (cgroup_ != nullptr) {
    const auto inside = cgroup_->processes();
    pids.insert(pids.end(), inside.begin(), inside.end());
  }
  std::erase_if(pids, [&](pid_t pid) { return isSpared(pid); });
  std::sort(pids.begin(), pids.end());
  pids.erase(std::unique(pids.begin(), pids.end()), pids.end());
  return pids;
}

bool TreeEnd::empty(bool noChildren) const {
  if (cgroup_ != nullptr && cgroup_->populated()) return false;
  return noChildren || (!spared_.empty() && left().empty());
}

void TreeEnd::killRound() {
  if (cgroup_ != nullptr) cgroup_->kill();
  for (const pid_t pid : childrenOfSelf()) {
    if (!isSpared(pid)) ::kill(pid, SIGKILL);
  }
  if (rounds_ >= kQuickRounds) signalDescendants(SIGKILL, {{}, spared_});
  ++rounds_;
}

// True if one of those left hangs in the kernel: then waiting may help, killing does not.
bool TreeEnd::anyHangs() const {
  return std::any_of(remaining_.begin(), remaining_.end(), [](pid_t pid) {
    const auto stat = readProcessStat(pid);
    return stat && stat->state == 'D';
  });
}

TreeEnd::State TreeEnd::step(bool noChildren, Time now) {
  if (empty(noChildren)) return State::gone;
  if (now < next_ && rounds_ >= kQuickRounds) return State::busy;
  if (now - begin_ >= patience_.escape) {
    remaining_ = left();
    if (remaining_.empty()) return State::gone;
    const bool hangs = anyHangs();
    if (!hangs) return State::escaped;
    if (now - begin_ >= patience_.unkillable) return State::unkillable;
  }
  killRound();
  next_ = Clock::now() + std::min(kSpacing * std::max(1, rounds_ - kQuickRounds), kLongestSpacing);
  return State::busy;
}

}  // namespace baton::worker
