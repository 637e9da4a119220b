// The lock table's part about what ends otherwise than by a release: clients, time, locks; and about
// conditions, events and barriers.
#include <algorithm>
#include <utility>

#include "daemon/lock_table.h"

namespace baton::daemon {

// ---- the end of a client ----

void LockTable::clientEnded(LockClient client, bool treeMayLive, Time now) {
  const auto found = locksOf_.find(client);
  if (found == locksOf_.end()) return;
  const auto ids = std::move(found->second);
  locksOf_.erase(found);
  // Its waits first: it must not be granted what its own end sets free.
  for (const LockId id : ids) {
    if (Lock* lock = get(id)) endWaits(*lock, client, now);
  }
  for (const LockId id : ids) {
    Lock* lock = get(id);
    if (lock == nullptr) continue;
    endHolds(*lock, client, treeMayLive, now);
    settle(*lock, now);
  }
}

void LockTable::leave(LockId id, LockClient client, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) return;
  endWaits(*lock, client, now);
  endHolds(*lock, client, false, now);
  settle(*lock, now);
  const auto locks = locksOf_.find(client);
  if (locks != locksOf_.end()) locks->second.erase(id);
}

void LockTable::endWaits(Lock& lock, LockClient client, Time now) {
  std::vector<Lock::Place> places;
  for (const auto& [place, waiter] : lock.waiters) {
    if (waiter.request.party.client == client) places.push_back(place);
  }
  for (const Lock::Place& place : places) static_cast<void>(takeWaiter(lock, place));
  if (places.empty()) return;
  if (lock.options.kind == LockKind::barrier) breakBarrier(lock);
  settle(lock, now);
}

void LockTable::endHolds(Lock& lock, LockClient client, bool treeMayLive, Time now) {
  std::erase_if(lock.taken, [&](const LockHold& hold) { return hold.party.client == client; });
  if (lock.delegatedTo == client) {
    const auto inside = delegations_.insideAtEnd(lock.id, client);
    const auto who = std::exchange(lock.delegate, nullptr);
    std::erase_if(lock.holds, [&](const LockHold& hold) { return hold.party.client == client; });
    lock.delegatedTo = 0;
    if (inside) {
      const LockHold hold{
          .party = {client, *inside}, .who = who, .since = lock.delegatedAt, .token = lock.lastToken};
      abandon(lock, hold, treeMayLive, now);
    }
    return;
  }
  for (auto hold = lock.holds.begin(); hold != lock.holds.end();) {
    if (hold->party.client != client) {
      ++hold;
      continue;
    }
    if (lock.options.kind == LockKind::semaphore) lock.free += hold->count;
    // A reader changes nothing, so its end leaves nothing half done.
    if (hold->mode == LockMode::exclusive) abandon(lock, *hold, treeMayLive, now);
    hold = lock.holds.erase(hold);
  }
}

void LockTable::abandon(Lock& lock, const LockHold& hold, bool treeMayLive, Time now) {
  lock.abandonment = LockAbandonment{.who = hold.who,
                                     .thread = hold.party.thread,
                                     .heldSince = hold.since,
                                     .endedAt = now,
                                     .treeMayLive = treeMayLive};
}

void LockTable::forget(LockWait wait, Time now) {
  const auto found = waits_.find(wait);
  if (found == waits_.end()) return;
  Lock& lock = *get(found->second.lock);
  static_cast<void>(takeWaiter(lock, found->second.place));
  if (lock.options.kind == LockKind::barrier) breakBarrier(lock);
  settle(lock, now);
}

// ---- time ----

std::optional<Time> LockTable::nextDeadline() const {
  if (deadlines_.empty()) return std::nullopt;
  return deadlines_.begin()->first;
}

void LockTable::expire(Time now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto found = waits_.find(deadlines_.begin()->second);
    if (found == waits_.end()) {
      deadlines_.erase(deadlines_.begin());
      continue;
    }
    const WaitPlace at = found->second;
    expireOne(at, now);
  }
}

void LockTable::expireOne(const WaitPlace& at, Time now) {
  Lock& lock = *get(at.lock);
  LockWaiter waiter = takeWaiter(lock, at.place);
  if (waiter.inCondition && lock.options.kind == LockKind::condition) {
    backToMutex(std::move(waiter), false, now);
    return;
  }
  refuse(lock, waiter, Code::timedOut, lock.head.key.name + " was not to be had in time");
  if (lock.options.kind == LockKind::barrier) breakBarrier(lock);
  settle(lock, now);
}

void LockTable::setBlocked(bool blocked, Time now) {
  blocked_ = blocked;
  if (blocked) return;
  for (auto& [id, lock] : locks_) settle(lock, now);
}

// ---- the end of a lock, and operators ----

void LockTable::refuseAll(Lock& lock, Code code, const std::string& text) {
  while (!lock.waiters.empty()) {
    const LockWaiter waiter = takeWaiter(lock, lock.waiters.begin()->first);
    refuse(lock, waiter, code, text);
  }
}

void LockTable::remove(LockId id, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) return;
  refuseAll(*lock, Code::removed, lock->head.key.name + " was removed");
  // A page may still have it: nobody can be granted it any more, so whoever is inside is alone.
  if (lock->delegatedTo != 0) static_cast<void>(delegations_.recall(id, lock->delegatedTo));
  // Who waits on a condition with this mutex gets it no more.
  for (auto& [other, condition] : locks_) {
    if (condition.options.kind != LockKind::condition) continue;
    std::vector<Lock::Place> places;
    for (const auto& [place, waiter] : condition.waiters) {
      if (waiter.mutex == id) places.push_back(place);
    }
    for (const Lock::Place& place : places) {
      const LockWaiter waiter = takeWaiter(condition, place);
      refuse(condition, waiter, Code::removed, lock->head.key.name + " was removed");
    }
  }
  static_cast<void>(now);
  names_.erase(lock->head.key);
  const auto count = counts_.find(lock->head.key.uid);
  if (--count->second == 0) counts_.erase(count);
  locks_.erase(id);
}

void LockTable::clear(LockId id, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) return;
  lock->abandonment.reset();
  settle(*lock, now);
}

void LockTable::breakLock(LockId id, Time now) {
  Lock* lock = get(id);
  if (lock == nullptr) return;
  if (lock->delegatedTo != 0 && lock->holds.empty() && isBack(*lock, now)) {
    settle(*lock, now);
    return;
  }
  for (LockHold& hold : lock->holds) {
    if (lock->options.kind == LockKind::semaphore) lock->free += hold.count;
    if (hold.mode == LockMode::exclusive) {
      abandon(*lock, hold, true, now);
      lock->abandonment->broken = true;
    }
    lock->taken.push_back(std::move(hold));
  }
  lock->holds.clear();
  lock->delegatedTo = 0;
  lock->delegate.reset();
  settle(*lock, now);
}

// ---- conditions ----

bool LockTable::wait(LockId conditionId, LockId mutexId, const LockAcquire& request, Time now) {
  Lock* condition = get(conditionId);
  Lock* mutex = get(mutexId);
  if (condition == nullptr || mutex == nullptr) return false;
  if (mutex->delegatedTo == request.party.client) {
    // The client's thread is in this call, so its word stands still.
    if (mutex->holds.empty() && isBack(*mutex, now)) return false;
    if (mutex->holds.front().party != request.party) return false;
    delegations_.reclaim(mutexId, request.party.client);
    mutex->holds.front().viaPage = false;
    mutex->delegatedTo = 0;
    mutex->delegate.reset();
  }
  const auto held = std::find_if(mutex->holds.begin(), mutex->holds.end(),
                                 [&](const LockHold& hold) { return hold.party == request.party; });
  if (held == mutex->holds.end()) return false;
  // A depth of an rlock comes back as it was: the waiter keeps it.
  LockWaiter waiter{.request = request, .since = now, .mutex = mutexId, .inCondition = true};
  waiter.request.count = held->count;
  mutex->holds.erase(held);
  enqueue(*condition, std::move(waiter), request.priority);
  settle(*mutex, now);
  expire(now);
  return true;
}

void LockTable::notify(LockId id, unsigned count, Time now) {
  Lock* condition = get(id);
  if (condition == nullptr) return;
  for (; count > 0 && !condition->waiters.empty(); --count) {
    backToMutex(takeWaiter(*condition, condition->waiters.begin()->first), true, now);
  }
}

void LockTable::backToMutex(LockWaiter waiter, bool notified, Time now) {
  Lock* mutex = get(waiter.mutex);
  if (mutex == nullptr) {
    outcomes_.emplace_back(
        LockRefusal{waiter.mutex, waiter.request.wait, Code::removed, "the mutex was removed"});
    return;
  }
  waiter.notified = notified;
  // However long the mutex takes: the caller gets it back.
  waiter.request.deadline = kForever;
  waiter.request.mode = LockMode::exclusive;
  const int priority = waiter.request.priority;
  enqueue(*mutex, std::move(waiter), priority);
  settle(*mutex, now);
}

// ---- events and barriers ----

void LockTable::set(LockId id, bool value, Time now) {
  Lock* event = get(id);
  if (event == nullptr) return;
  event->isSet = value;
  settle(*event, now);
}

void LockTable::meet(Lock& barrier, Time now) {
  static_cast<void>(now);
  if (blocked_) return;
  if (barrier.broken) {
    refuseAll(barrier, Code::broken,
              barrier.head.key.name + " is broken: a party left; `reset` makes it whole");
    return;
  }
  while (barrier.waiters.size() >= barrier.options.permits) {
    const std::uint64_t token = newToken(barrier);
    // In the order of arrival, whatever the priorities.
    std::vector<std::pair<std::uint64_t, Lock::Place>> arrived;
    for (const auto& [place, waiter] : barrier.waiters) arrived.emplace_back(place.second, place);
    std::sort(arrived.begin(), arrived.end());
    arrived.resize(barrier.options.permits);
    for (unsigned i = 0; i < arrived.size(); ++i) {
      const LockWaiter waiter = takeWaiter(barrier, arrived[i].second);
      outcomes_.emplace_back(LockGrant{.lock = barrier.id,
                                       .wait = waiter.request.wait,
                                       .party = waiter.request.party,
                                       .token = token,
                                       .abandonment = {},
                                       .index = i});
    }
  }
}

void LockTable::breakBarrier(Lock& barrier) {
  barrier.broken = true;
  refuseAll(barrier, Code::broken,
            barrier.head.key.name + " is broken: a party left; `reset` makes it whole");
}

void LockTable::reset(LockId id, Time now) {
  Lock* barrier = get(id);
  if (barrier == nullptr) return;
  refuseAll(*barrier, Code::broken, barrier->head.key.name + " was reset");
  barrier->broken = false;
  settle(*barrier, now);
}

}  // namespace baton::daemon
