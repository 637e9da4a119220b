// Names, owners and the line of waiters. Conditions, ends and deadlocks have files of their own.
#include "daemon/lock_table.h"

#include <algorithm>
#include <utility>

namespace baton::daemon {

LockId LockTable::create(const ObjectHead& head, const LockOptions& options) {
  const LockId id = ++lastId_;
  Lock& lock = locks_[id];
  lock.id = id;
  lock.head = head;
  lock.options = options;
  lock.free = options.kind == LockKind::semaphore ? options.permits : 0;
  names_[head.key] = id;
  ++counts_[head.key.uid];
  return id;
}

bool LockTable::isAsNew(const Lock& lock) {
  const bool full = lock.options.kind != LockKind::semaphore || lock.free == lock.options.permits;
  return lock.holds.empty() && lock.waiters.empty() && lock.taken.empty() && lock.delegatedTo == 0 &&
         !lock.abandonment && !lock.isSet && !lock.broken && full;
}

const Lock* LockTable::find(const ObjectKey& key) const {
  const auto found = names_.find(key);
  return found == names_.end() ? nullptr : find(found->second);
}

const Lock* LockTable::find(LockId id) const {
  const auto found = locks_.find(id);
  return found == locks_.end() ? nullptr : &found->second;
}

Lock* LockTable::get(LockId id) {
  const auto found = locks_.find(id);
  return found == locks_.end() ? nullptr : &found->second;
}

void LockTable::visit(const ObjectKey& after, const std::function<bool(const Lock&)>& row) const {
  for (auto at = names_.upper_bound(after); at != names_.end(); ++at) {
    if (!row(*find(at->second))) return;
  }
}

std::size_t LockTable::count(Uid uid) const {
  const auto found = counts_.find(uid);
  return found == counts_.end() ? 0 : found->second;
}

std::optional<LockOutcome> LockTable::next() {
  if (outcomes_.empty()) return std::nullopt;
  LockOutcome outcome = std::move(outcomes_.front());
  outcomes_.pop_front();
  return outcome;
}

// ---- waiting ----

void LockTable::enqueue(Lock& lock, LockWaiter waiter, int priority) {
  const Lock::Place place{-priority, ++arrivals_};
  const LockAcquire& request = waiter.request;
  waits_[request.wait] = {lock.id, place};
  waitsOf_[request.party].insert(request.wait);
  if (request.deadline != kForever) deadlines_.insert({request.deadline, request.wait});
  note(request.party.client, lock.id);
  lock.waiters.emplace(place, std::move(waiter));
}

LockWaiter LockTable::takeWaiter(Lock& lock, Lock::Place place) {
  auto node = lock.waiters.extract(place);
  LockWaiter waiter = std::move(node.mapped());
  const LockAcquire& request = waiter.request;
  waits_.erase(request.wait);
  deadlines_.erase({request.deadline, request.wait});
  const auto waits = waitsOf_.find(request.party);
  if (waits != waitsOf_.end()) {
    waits->second.erase(request.wait);
    if (waits->second.empty()) waitsOf_.erase(waits);
  }
  return waiter;
}

void LockTable::acquire(LockId id, const LockAcquire& request, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) {
    outcomes_.emplace_back(LockRefusal{id, request.wait, Code::removed, "the lock was removed"});
    return;
  }
  if (reenter(*lock, request)) return;
  enqueue(*lock, {.request = request, .since = now}, request.priority);
  settle(*lock, now);
  const auto waiting = waits_.find(request.wait);
  if (waiting == waits_.end()) return;
  const Lock::Place place = waiting->second.place;
  const LockWaiter& waiter = lock->waiters.at(place);
  if (request.dontWait) {
    const LockWaiter taken = takeWaiter(*lock, place);
    refuse(*lock, taken, Code::busy, lock->head.key.name + " is held by somebody else");
    return;
  }
  if (const std::string circle = deadlock(*lock, waiter); !circle.empty()) {
    const LockWaiter taken = takeWaiter(*lock, place);
    refuse(*lock, taken, Code::deadlock, "waiting would never end: " + circle);
  }
}

// An rlock that its thread has already.
bool LockTable::reenter(Lock& lock, const LockAcquire& request) {
  if (lock.options.kind != LockKind::rlock) return false;
  for (LockHold& hold : lock.holds) {
    if (hold.party != request.party) continue;
    ++hold.count;
    outcomes_.emplace_back(LockGrant{.lock = lock.id,
                                     .wait = request.wait,
                                     .party = request.party,
                                     .token = hold.token,
                                     .abandonment = {},
                                     .depth = hold.count});
    return true;
  }
  return false;
}

// ---- granting ----

void LockTable::settle(Lock& lock, Time now) {
  if (lock.options.kind == LockKind::barrier) {
    meet(lock, now);
    return;
  }
  while (!lock.waiters.empty()) {
    const auto first = lock.waiters.begin();
    if (lock.abandonment && lock.options.refuseAbandoned && !lock.abandonment->broken) {
      const LockWaiter waiter = takeWaiter(lock, first->first);
      refuse(lock, waiter, Code::abandoned,
             lock.head.key.name + " was abandoned by pid " + std::to_string(lock.abandonment->who->pid) +
                 " (" + lock.abandonment->who->program + "); `lock clear` makes it usable again");
      continue;
    }
    if (!canGrant(lock, first->second, now)) return;
    grant(lock, first->first, now);
  }
}

// The lock is not in a client's page, or comes back from there now.
bool LockTable::isBack(Lock& lock, Time now) {
  if (lock.delegatedTo == 0) return true;
  const LockClient client = lock.delegatedTo;
  // Found inside already: nothing new until it returns.
  if (!lock.holds.empty()) return false;
  const auto inside = delegations_.recall(lock.id, client);
  if (!inside) {
    lock.delegatedTo = 0;
    lock.delegate.reset();
    return true;
  }
  lock.holds.push_back({.party = {client, *inside},
                        .who = lock.delegate,
                        .since = lock.delegatedAt,
                        .token = lock.lastToken,
                        .viaPage = true});
  static_cast<void>(now);
  return false;
}

bool LockTable::canGrant(Lock& lock, const LockWaiter& waiter, Time now) {
  if (blocked_) return false;
  switch (lock.options.kind) {
    case LockKind::mutex:
    case LockKind::rlock:
      return isBack(lock, now) && lock.holds.empty();
    case LockKind::semaphore:
      return lock.free >= waiter.request.count;
    case LockKind::rwlock:
      if (waiter.request.mode == LockMode::exclusive) return lock.holds.empty();
      return lock.holds.empty() || lock.holds.front().mode == LockMode::shared;
    case LockKind::event:
      return lock.isSet;
    case LockKind::condition:
    case LockKind::barrier:
      return false;
  }
  return false;
}

namespace {

// Permits of a semaphore; the depth that an rlock had before its thread waited on a condition.
unsigned countOf(const Lock& lock, const LockWaiter& waiter) {
  if (lock.options.kind == LockKind::semaphore) return waiter.request.count;
  return lock.options.kind == LockKind::rlock && waiter.inCondition ? waiter.request.count : 1;
}

}  // namespace

void LockTable::grant(Lock& lock, Lock::Place place, Time now) {
  const LockWaiter waiter = takeWaiter(lock, place);
  const LockAcquire& request = waiter.request;
  LockGrant granted{.lock = lock.id, .wait = request.wait, .party = request.party, .abandonment = {}};
  granted.notified = waiter.notified;
  granted.token = newToken(lock);
  if (lock.options.kind == LockKind::event) {
    outcomes_.emplace_back(std::move(granted));
    return;
  }
  granted.abandonment = std::exchange(lock.abandonment, std::nullopt);
  if (lock.options.kind == LockKind::mutex && !lock.options.handOff && request.slot != 0 &&
      delegations_.delegate(granted, request.slot)) {
    lock.delegatedTo = request.party.client;
    lock.delegate = request.who;
    lock.delegatedAt = now;
    outcomes_.emplace_back(std::move(granted));
    return;
  }
  if (lock.options.kind == LockKind::semaphore) lock.free -= request.count;
  if (!lock.options.counting) {
    lock.holds.push_back({.party = request.party,
                          .who = request.who,
                          .mode = lock.options.kind == LockKind::rwlock ? request.mode : LockMode::exclusive,
                          .count = countOf(lock, waiter),
                          .since = now,
                          .token = granted.token});
  }
  outcomes_.emplace_back(std::move(granted));
}

void LockTable::refuse(const Lock& lock, const LockWaiter& waiter, Code code, const std::string& text) {
  outcomes_.emplace_back(LockRefusal{lock.id, waiter.request.wait, code, text});
}

// ---- releasing ----

LockRelease LockTable::release(LockId id, const LockHold& what, Time now) {
  Lock* lock = get(id);
  // Removed while it was held: whoever held it did nothing wrong.
  if (lock == nullptr) return LockRelease::done;
  if (lock->options.counting) {
    if (lock->options.bounded && lock->free + what.count > lock->options.permits) return LockRelease::tooMany;
    if (what.count > kEverybody - lock->free) return LockRelease::tooMany;
    lock->free += what.count;
    settle(*lock, now);
    return LockRelease::done;
  }
  const auto mine = [&](const LockHold& hold) {
    if (what.token != 0 && hold.token != what.token) return false;
    if (lock->options.kind == LockKind::rwlock && hold.mode != what.mode) return false;
    return lock->options.handOff || hold.party == what.party;
  };
  const auto found = std::find_if(lock->holds.begin(), lock->holds.end(), mine);
  if (found == lock->holds.end()) {
    const auto taken = std::find_if(lock->taken.begin(), lock->taken.end(), mine);
    if (taken == lock->taken.end()) return LockRelease::notHeld;
    lock->taken.erase(taken);
    return LockRelease::broken;
  }
  if (found->viaPage) lock->delegatedTo = 0;
  const unsigned count = lock->options.kind == LockKind::semaphore ? what.count : 1;
  if (count > found->count) return LockRelease::tooMany;
  found->count -= count;
  if (lock->options.kind == LockKind::semaphore) lock->free += count;
  if (found->count > 0 && lock->options.kind != LockKind::semaphore) return LockRelease::done;
  if (found->count == 0) lock->holds.erase(found);
  settle(*lock, now);
  return LockRelease::done;
}

void LockTable::returned(LockId id, LockClient client, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) return;
  // Of a lock that an operator broke, this is how its holder lets go.
  std::erase_if(lock->taken,
                [&](const LockHold& hold) { return hold.viaPage && hold.party.client == client; });
  if (lock->delegatedTo != client) return;
  lock->delegatedTo = 0;
  lock->delegate.reset();
  std::erase_if(lock->holds, [&](const LockHold& hold) { return hold.party.client == client; });
  settle(*lock, now);
}

bool LockTable::bind(LockId id, LockParty from, LockParty to, std::shared_ptr<const LockWho> who,
                     std::uint64_t token) {
  Lock* lock = get(id);
  if (lock == nullptr) return false;
  for (LockHold& hold : lock->holds) {
    if (hold.party != from || hold.token != token || hold.viaPage) continue;
    hold.party = to;
    hold.who = std::move(who);
    note(to.client, id);
    return true;
  }
  return false;
}

}  // namespace baton::daemon
