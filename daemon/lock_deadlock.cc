// The lock table's part about circles of waiting.
#include <algorithm>

#include "daemon/lock_table.h"

namespace baton::daemon {
namespace {

// Long enough for any circle that a person can follow, short enough for one frame.
constexpr std::size_t kMaxCycleParts = 16;
// Of a chain of waiters: a longer circle is not found, and ends by its time-outs. Bounds stack and time.
constexpr unsigned kMaxDepth = 1000;

bool ownsByParty(const Lock& lock) {
  switch (lock.options.kind) {
    case LockKind::mutex:
      return !lock.options.handOff;
    case LockKind::semaphore:
      return !lock.options.counting;
    case LockKind::rlock:
    case LockKind::rwlock:
      return true;
    case LockKind::condition:
    case LockKind::event:
    case LockKind::barrier:
      return false;
  }
  return false;
}

std::string nameOf(const LockWho* who, LockParty party) {
  if (who == nullptr) return "client " + std::to_string(party.client);
  std::string text = "pid " + std::to_string(who->pid);
  if (!who->program.empty()) text += " (" + who->program + ")";
  if (party.thread != 0) text += " thread " + std::to_string(party.thread);
  return text;
}

// A reader waits for writers only, unless one waits before it, which waits for all.
bool waitsForReaders(const Lock& lock, const LockWaiter& waiter) {
  if (waiter.request.mode == LockMode::exclusive) return true;
  for (const auto& [place, ahead] : lock.waiters) {
    if (ahead.request.wait == waiter.request.wait) return false;
    if (ahead.request.mode == LockMode::exclusive) return true;
  }
  return false;
}

}  // namespace

struct LockTable::Path {
  LockParty target;
  std::unordered_map<LockWait, bool> known;  // false also while it is looked at
  std::vector<std::string> parts;            // from the end of the circle to its beginning
  unsigned depth = 0;
};

std::string LockTable::deadlock(const Lock& lock, const LockWaiter& waiter) const {
  Path path{waiter.request.party, {}, {}, 0};
  if (!dependsOn(lock, waiter, path)) return {};
  std::string text =
      nameOf(waiter.request.who.get(), waiter.request.party) + " waits for " + lock.head.key.name;
  std::reverse(path.parts.begin(), path.parts.end());
  if (path.parts.size() > kMaxCycleParts) path.parts.resize(kMaxCycleParts);
  for (const std::string& part : path.parts) text += part;
  return text;
}

// Whether the waiter cannot go on before the path's target does.
bool LockTable::dependsOn(const Lock& lock, const LockWaiter& waiter, Path& path) const {
  const auto [known, isNew] = path.known.emplace(waiter.request.wait, false);
  if (!isNew) return known->second;
  if (!ownsByParty(lock) || path.depth >= kMaxDepth) return false;
  const bool depends = holdersDependOn(lock, waiter, path);
  path.known[waiter.request.wait] = depends;
  return depends;
}

bool LockTable::holdersDependOn(const Lock& lock, const LockWaiter& waiter, Path& path) const {
  const auto blames = [&](const LockHold& hold) {
    if (!partyDependsOn(hold.party, path)) return false;
    path.parts.push_back(", held by " + nameOf(hold.who.get(), hold.party));
    return true;
  };
  if (lock.options.kind == LockKind::semaphore) {
    // Any of the holders may give enough back.
    return !lock.holds.empty() && lock.free < waiter.request.count &&
           std::all_of(lock.holds.begin(), lock.holds.end(),
                       [&](const LockHold& hold) { return partyDependsOn(hold.party, path); }) &&
           blames(lock.holds.front());
  }
  const bool readersToo = waitsForReaders(lock, waiter);
  return std::any_of(lock.holds.begin(), lock.holds.end(), [&](const LockHold& hold) {
    return (readersToo || hold.mode == LockMode::exclusive) && blames(hold);
  });
}

bool LockTable::partyDependsOn(LockParty party, Path& path) const {
  if (party == path.target) return true;
  const auto waits = waitsOf_.find(party);
  if (waits == waitsOf_.end()) return false;
  for (const LockWait wait : waits->second) {
    const WaitPlace& at = waits_.at(wait);
    const Lock& lock = locks_.at(at.lock);
    ++path.depth;
    const bool depends = dependsOn(lock, lock.waiters.at(at.place), path);
    --path.depth;
    if (!depends) continue;
    path.parts.push_back(", which waits for " + lock.head.key.name);
    return true;
  }
  return false;
}

std::string LockTable::cycleThrough(const Lock& lock) const {
  for (const auto& [place, waiter] : lock.waiters) {
    std::string circle = deadlock(lock, waiter);
    if (!circle.empty()) return circle;
  }
  return {};
}

}  // namespace baton::daemon
