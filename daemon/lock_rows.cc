#include "daemon/lock_rows.h"

#include <algorithm>

#include "daemon/lock_requests.h"

namespace baton::daemon {
namespace {

namespace wire = ipc::wire;

// A row with all of them stays a tenth of a frame.
constexpr std::size_t kMaxParties = 100;

std::uint64_t since(Time then, Time now) {
  return now > then ? static_cast<std::uint64_t>((now - then).count()) : 0;
}

void writeParty(const LockWho& who, std::uint32_t thread, std::uint64_t forNs, wire::Party::Builder party) {
  party.setUid(who.uid);
  party.setPid(who.pid);
  party.setProgram(who.program);
  party.setForNs(forNs);
  party.setThread(thread);
  party.setTask(who.task);
}

void writeAbandonment(const LockAbandonment& told, Time now, wire::Abandonment::Builder built) {
  writeParty(*told.who, told.thread, since(told.heldSince, told.endedAt), built.initBy());
  built.setAgoNs(since(told.endedAt, now));
  built.setTreeMayLive(told.treeMayLive);
  built.setBroken(told.broken);
}

wire::LockMode modeOf(LockMode mode) {
  return mode == LockMode::shared ? wire::LockMode::SHARED : wire::LockMode::EXCLUSIVE;
}

}  // namespace

std::string_view nameOf(LockKind kind) {
  switch (kind) {
    case LockKind::mutex:
      return "mutex";
    case LockKind::rlock:
      return "rlock";
    case LockKind::semaphore:
      return "semaphore";
    case LockKind::rwlock:
      return "rwlock";
    case LockKind::condition:
      return "condition";
    case LockKind::event:
      return "event";
    case LockKind::barrier:
      return "barrier";
  }
  return "lock";
}

void writeOptions(const LockOptions& options, wire::LockOptions::Builder built) {
  built.setKind(static_cast<wire::LockKind>(options.kind));
  built.setPermits(options.permits);
  built.setBounded(options.bounded);
  built.setCounting(options.counting);
  built.setHandOff(options.handOff);
  built.setRefuseAbandoned(options.refuseAbandoned);
}

void writeGrant(const LockGrant& grant, Time now, wire::LockGranted::Builder built) {
  built.setToken(grant.token);
  built.setAbandoned(grant.abandonment.has_value());
  if (grant.abandonment) writeAbandonment(*grant.abandonment, now, built.initAbandonment());
  built.setNotified(grant.notified);
  built.setIndex(grant.index);
  built.setDepth(grant.depth);
}

void writeLock(const Lock& lock, bool all, const std::string& cycle, Time now, wire::LockRow::Builder row) {
  writeOptions(lock.options, row.initOptions());
  const std::size_t most = all ? kMaxParties : 1;
  auto holders = row.initHolders(static_cast<unsigned>(std::min(lock.holds.size(), most)));
  for (unsigned i = 0; i < holders.size(); ++i) {
    const LockHold& hold = lock.holds[i];
    writeParty(*hold.who, hold.party.thread, since(hold.since, now), holders[i]);
    holders[i].setCount(hold.count);
    holders[i].setMode(modeOf(hold.mode));
  }
  row.setHolderCount(static_cast<std::uint32_t>(lock.holds.size()));
  auto waiters = row.initWaiters(static_cast<unsigned>(std::min(lock.waiters.size(), most)));
  auto waiter = lock.waiters.begin();
  for (unsigned i = 0; i < waiters.size(); ++i, ++waiter) {
    const LockAcquire& request = waiter->second.request;
    writeParty(*request.who, request.party.thread, since(waiter->second.since, now), waiters[i]);
    waiters[i].setCount(request.count);
    waiters[i].setMode(modeOf(request.mode));
  }
  row.setWaiterCount(static_cast<std::uint32_t>(lock.waiters.size()));
  row.setFree(lock.free);
  row.setIsSet(lock.isSet);
  row.setAbandoned(lock.abandonment.has_value());
  if (lock.abandonment) writeAbandonment(*lock.abandonment, now, row.initAbandonment());
  row.setCached(lock.delegatedTo != 0 && lock.holds.empty());
  row.setCycle(cycle);
  row.setLastToken(lock.lastToken);
}

void LockRequests::write(const ObjectHead& head, bool all, wire::ObjectRow::Builder row) const {
  const Lock& lock = *table_.find(head.key);
  const std::string cycle = all ? table_.cycleThrough(lock) : std::string();
  const auto open = opens_.find(lock.id);
  row.setUserCount(open == opens_.end() ? 0 : open->second);
  auto built = row.initLock();
  writeLock(lock, all, cycle, monotonicNow(), built);
  if (!table_.blocked()) return;
  std::string text = "clients of an older daemon";
  for (const std::int32_t pid : generations_.holders()) text += " " + std::to_string(pid);
  built.setBlockedBy(text);
}

void LockRequests::fillStatus(wire::Status::Builder status) const {
  status.setLocks(static_cast<std::uint32_t>(table_.size()));
}

}  // namespace baton::daemon
