// Every lock of every uid: who holds, who waits, who is next. Pure: calls and the time go in, outcomes come
// out; no I/O, no clock, no process. Used by the daemon's one thread.
//
//           acquire                 (front, and free)
//   party ───────────► waiting ────────────────────► holding ──────────► gone
//                        │ time-out, deadlock,          │  release
//                        │ removed, end of client       └── end of client: the next owner is told *abandoned*
//                        └──────► refused
//
// The rules:
//  1. Strictly first come, first served within a priority, for every kind; nobody overtakes a waiter of the
//     same or a higher priority, not even one who asks for less or does not wait.
//  2. Readers of a rwlock that stand together go in together, up to the next writer.
//  3. Ownership ends with the first of release, end of the client, and `breakLock`. In the last two the next
//     owner is told by whom, once; with `refuseAbandoned` nobody gets it until `clear`.
//  4. Permits of a counting semaphore belong to nobody, and anybody may release one.
//  5. An acquire that would close a circle of waiting is refused at once: every holder of a mutex, rlock or
//     rwlock is in the way (readers of a writer, and of those behind it); of a semaphore all holders
//     together. What anybody may release (hand-off mutexes, counting semaphores) and what nobody holds
//     (events, conditions, barriers) is in nobody's way.
//  6. A mutex that is granted to a client with a lock page is *delegated*: the client takes and releases it
//  in
//     its own memory, and the table knows only where it is. When somebody else waits it is recalled
//     (LockDelegations); who is found inside then is a holder as any other.
//  7. `wait` on a condition releases and enqueues in one step; a notified waiter goes to the end of the
//     mutex's line, so no notify is lost and nobody wakes to find the mutex taken.
//  8. A barrier that loses a party, by its end or by time-out, is broken for all until `reset`.
//  9. Fencing tokens grow with every grant of any lock.
//
// Costs: acquire, release O(log waiters of the lock), and where it has to wait the size of the graph behind
// it; the end of a client O(its locks). About 400 bytes per idle lock.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "daemon/lock_types.h"
#include "daemon/object_names.h"

namespace baton::daemon {

struct LockHold {
  LockParty party;
  std::shared_ptr<const LockWho> who;
  LockMode mode = LockMode::exclusive;
  unsigned count = 1;  // permits; of an rlock: depth
  Time since{0};
  std::uint64_t token = 0;
  bool viaPage = false;  // found inside at a recall
};

struct LockWaiter {
  LockAcquire request;
  Time since{0};
  LockId mutex = 0;  // of a condition's waiter: what it gets back
  bool inCondition = false;
  bool notified = false;
};

struct Lock {
  // The higher priority first, then in order of arrival.
  using Place = std::pair<int, std::uint64_t>;

  LockId id = 0;
  ObjectHead head;
  LockOptions options;
  std::vector<LockHold> holds;
  std::map<Place, LockWaiter> waiters;
  unsigned free = 0;           // semaphore
  bool isSet = false;          // event
  bool broken = false;         // barrier
  LockClient delegatedTo = 0;  // 0: to nobody
  std::shared_ptr<const LockWho> delegate;
  Time delegatedAt{0};
  std::optional<LockAbandonment> abandonment;
  std::vector<LockHold> taken;  // by `breakLock`, from holders that have not noticed yet
  std::uint64_t lastToken = 0;
};

enum class LockRelease { done, notHeld, tooMany, broken };

class LockTable {
 public:
  explicit LockTable(LockDelegations& delegations) : delegations_(delegations) {}
  // Tokens are greater than this one from now on.
  void setLastToken(std::uint64_t token) { lastToken_ = token; }

  // --- names ---
  // The name is free.
  LockId create(const ObjectHead& head, const LockOptions& options);
  // Nobody holds it or waits, and nothing is to be told of it: a new one would be the same.
  static bool isAsNew(const Lock& lock);
  const Lock* find(const ObjectKey& key) const;
  const Lock* find(LockId id) const;
  // Those behind `after`, in the order of their keys, until `row` returns false.
  void visit(const ObjectKey& after, const std::function<bool(const Lock&)>& row) const;
  // Of an owner.
  std::size_t count(Uid uid) const;
  std::size_t size() const { return locks_.size(); }
  // Who waits is refused; who holds may release it without an error. No-op for an unknown one.
  void remove(LockId id, Time now);

  // --- owners ---
  // No-op but an outcome `removed` for an unknown lock.
  void acquire(LockId id, const LockAcquire& request, Time now);
  // `token` 0: whatever the party holds.
  [[nodiscard]] LockRelease release(LockId id, const LockHold& what, Time now);
  // A delegated lock that was recalled came back.
  void returned(LockId id, LockClient client, Time now);
  // A grant that its client did not take up while others wait.
  void grantExpired(LockId id, LockClient client, Time now) { returned(id, client, now); }
  // What `from` holds of the lock belongs to `to` from now on. False: it holds nothing of that token.
  [[nodiscard]] bool bind(LockId id, LockParty from, LockParty to, std::shared_ptr<const LockWho> who,
                          std::uint64_t token);
  // The wait is over for its client; without an outcome.
  void forget(LockWait wait, Time now);
  void clientEnded(LockClient client, bool treeMayLive, Time now);
  // As its end, for one lock.
  void leave(LockId id, LockClient client, Time now);

  // --- conditions, events, barriers, operators ---
  // Of a thread that holds the mutex, which is a mutex or an rlock. False: it does not.
  [[nodiscard]] bool wait(LockId condition, LockId mutex, const LockAcquire& request, Time now);
  void notify(LockId condition, unsigned count, Time now);
  void set(LockId event, bool value, Time now);
  void reset(LockId barrier, Time now);
  void clear(LockId id, Time now);
  void breakLock(LockId id, Time now);
  // While blocked nothing is granted: an older daemon's clients may still hold locks.
  void setBlocked(bool blocked, Time now);
  bool blocked() const { return blocked_; }

  // --- time ---
  // What has waited too long is refused.
  void expire(Time now);
  std::optional<Time> nextDeadline() const;

  std::optional<LockOutcome> next();

  // A circle of waiting through this lock, as text; empty: there is none.
  std::string cycleThrough(const Lock& lock) const;

 private:
  struct WaitPlace {
    LockId lock = 0;
    Lock::Place place;
  };
  struct Path;

  Lock* get(LockId id);
  Lock* holdingLock(LockId id);
  void enqueue(Lock& lock, LockWaiter waiter, int priority);
  LockWaiter takeWaiter(Lock& lock, Lock::Place place);
  bool reenter(Lock& lock, const LockAcquire& request);
  void settle(Lock& lock, Time now);
  bool canGrant(Lock& lock, const LockWaiter& waiter, Time now);
  bool isBack(Lock& lock, Time now);
  void grant(Lock& lock, Lock::Place place, Time now);
  void meet(Lock& barrier, Time now);
  void breakBarrier(Lock& barrier);
  void refuse(const Lock& lock, const LockWaiter& waiter, Code code, const std::string& text);
  void refuseAll(Lock& lock, Code code, const std::string& text);
  void abandon(Lock& lock, const LockHold& hold, bool treeMayLive, Time now);
  void endHolds(Lock& lock, LockClient client, bool treeMayLive, Time now);
  void endWaits(Lock& lock, LockClient client, Time now);
  void backToMutex(LockWaiter waiter, bool notified, Time now);
  void expireOne(const WaitPlace& at, Time now);
  std::uint64_t newToken(Lock& lock) { return lock.lastToken = ++lastToken_; }
  void note(LockClient client, LockId lock) { locksOf_[client].insert(lock); }

  // lock_deadlock.cc
  std::string deadlock(const Lock& lock, const LockWaiter& waiter) const;
  bool dependsOn(const Lock& lock, const LockWaiter& waiter, Path& path) const;
  bool holdersDependOn(const Lock& lock, const LockWaiter& waiter, Path& path) const;
  bool partyDependsOn(LockParty party, Path& path) const;

  LockDelegations& delegations_;
  std::uint64_t lastToken_ = 0;
  bool blocked_ = false;
  LockId lastId_ = 0;
  std::uint64_t arrivals_ = 0;
  std::unordered_map<LockId, Lock> locks_;
  std::map<ObjectKey, LockId> names_;
  std::unordered_map<Uid, std::size_t> counts_;
  std::unordered_map<LockWait, WaitPlace> waits_;
  std::map<LockParty, std::set<LockWait>> waitsOf_;
  std::set<std::pair<Time, LockWait>> deadlines_;
  std::unordered_map<LockClient, std::unordered_set<LockId>> locksOf_;
  std::deque<LockOutcome> outcomes_;
};

}  // namespace baton::daemon
