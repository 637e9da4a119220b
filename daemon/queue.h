// One queue: which message goes to whom, and when. Events and the time go in, outcomes come out; no I/O, no
// clock, no thread. Messages are pieces of memory from a MessageStore that nobody looks into.
//
//             put                    get                  ack, or taken
//   (delayed) ────► ready ─────────────────────► handed out ─────────────► gone
//                     ▲  front, attempt + 1         │
//                     └── nack, lease over, ────────┘
//                         user's end                └─ too many attempts ─► dead
//
// The rules:
//  1. Ready messages are delivered by priority, the higher first, and among equal ones in the order of their
//     puts. So what comes back is in front of all that was put later.
//  2. Waiting gets are served in their order, waiting puts too: nobody overtakes, not even a put that would
//  fit.
//     A put of several goes in message by message, as there is room.
//  3. The bounds are about what waits in the queue, ready or delayed. What is handed out does not count: a
//  queue
//     of one message has room for the next as soon as somebody has got the first. (All of it is charged to
//     the owner, in the MessageStore.)
//  4. When full: block; reject; or drop the oldest ready message of the lowest priority, else the delayed one
//     that is due first.
//  5. A message got with lease is handed out until it is settled, the lease is over, or its holder ends. One
//  got
//     without is handed out until it is taken, which the transport tells; then it is gone.
//  6. What comes back counts as an attempt, unless its holder says that it did not look at it. With
//  maxAttempts
//     deliveries behind it a message does not come back, but is dead: it comes out at `Outbox::dead`.
//  7. Closed: puts are refused; gets go on until nothing is left, and nothing can come back any more.
//  8. Paused: gets wait, or find it empty.
//  9. Unfinished are messages put and not yet acknowledged, done (of those got without lease), dropped,
//  purged or
//     dead. Who joins waits until there is none.
//
// Every accepted message is in one place: ready, delayed, handed out, dead, or gone by one of the ways above.
//
// Costs with n messages: put and get of messages of priority 0 O(1), of others O(log n), leases O(log n). An
// idle queue takes below 2 KiB.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/message_store.h"
#include "daemon/rate.h"

namespace baton::daemon {

class Queue;

enum class FullPolicy : std::uint8_t { block, reject, dropOldest };

struct QueueOptions {
  std::uint64_t maxMessages = 10'000;
  std::uint64_t maxBytes = 64ULL << 20;
  FullPolicy whenFull = FullPolicy::block;
  std::uint32_t maxAttempts = 0;  // 0: no bound
  std::string deadLetters{};      // name of a queue of the same owner; empty: none
  Time lease = std::chrono::seconds(30);
};

// As ipc/objects.capnp has them.
enum class QueueOutcome : std::uint8_t { done, timedOut, full, empty, closed, removed };

struct QueueWaiter;
using QueueWaiters = std::list<QueueWaiter>;

// Somebody who has the queue open. Made and ended by the queue; its address stays.
struct QueueUser {
  std::uint64_t session = 0;
  MessageList leased;
  MessageList delivered;            // without lease, not yet taken; in order
  std::uint64_t deliveredEver = 0;  // of those without lease
  std::uint64_t takenEver = 0;
  std::unordered_map<std::uint64_t, QueueWaiters::iterator> waiting;  // by request
  std::list<QueueUser>::iterator self;
  std::size_t inHand() const { return leased.size() + delivered.size(); }
};

struct GetOptions {
  std::uint32_t max = 1;
  bool lease = false;
  Time leaseTime{0};      // 0: the queue's
  bool detached = false;  // the lease is nobody's: it does not end with the user
};

// A put, get or join that waits.
struct QueueWaiter {
  enum class Kind : std::uint8_t { put, get, join };
  Kind kind = Kind::get;
  QueueUser* user = nullptr;
  std::uint64_t request = 0;
  std::uint64_t number = 0;  // counts up in the queue
  Time since{0};
  Time deadline{0};
  GetOptions get{};
  std::vector<QueueMessage*> messages{};  // of a put, those from `next` on are still outside
  std::size_t next = 0;
  QueueOutcome atEnd = QueueOutcome::done;  // of a put, when all is in
  std::uint32_t accepted = 0;
  std::uint64_t firstId = 0;
};

struct PutResult {
  QueueOutcome outcome = QueueOutcome::done;
  std::uint32_t accepted = 0;
  std::uint64_t firstId = 0;
};

// The end of a wait.
struct QueueEvent {
  QueueWaiter::Kind kind = QueueWaiter::Kind::get;
  std::uint64_t session = 0;
  std::uint64_t request = 0;
  QueueOutcome outcome = QueueOutcome::done;
  PutResult put;
  QueueUser* user = nullptr;
  std::vector<QueueMessage*> messages;  // of a get: handed out already
};

struct QueueOrder {
  bool operator()(const QueueMessage* a, const QueueMessage* b) const {
    return a->priority != b->priority ? a->priority > b->priority : a->id < b->id;
  }
};
using OrderedMessages = std::set<QueueMessage*, QueueOrder>;
using DelayedMessages = std::map<std::pair<Time, std::uint64_t>, QueueMessage*>;  // by when ready, id
using LeasedMessages = std::unordered_map<std::uint64_t, QueueMessage*>;

// Messages thrown away all at once: to be freed in pieces, so that nobody waits for it.
struct QueueGrave {
  std::deque<QueueMessage*> fifo;
  OrderedMessages ordered;
  DelayedMessages delayed;
  LeasedMessages leased;
  std::vector<MessageList> delivered;

  // Frees at most `count`. True: nothing is left.
  bool free(MessageStore& store, std::size_t count);
};

// What comes of a call besides its result: for others. To be emptied after each call.
struct QueueOutbox {
  std::vector<QueueEvent> events;
  // Out of the queue that was called: for its deadLetters.
  std::vector<QueueMessage*> dead;
  std::vector<QueueGrave> graves;
};

struct QueueCounts {
  std::uint64_t put = 0;
  std::uint64_t got = 0;
  std::uint64_t acked = 0;
  std::uint64_t redelivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t dead = 0;
};

class Queue {
 public:
  // A frame of 1 MiB, less what is around a value in a reply.
  static constexpr std::size_t kMaxValueBytes = (std::size_t{1} << 20) - 4096;
  // A get is cut at so many bytes, if that leaves it a message: a reply fits a frame.
  static constexpr std::size_t kMaxGetBytes = std::size_t{256} << 10;
  // Messages in the hands of one user: what comes back at its end is worked off within a millisecond or two.
  static constexpr std::size_t kMaxInHand = 10'000;
  // A peek looks no further, for the same reason.
  static constexpr std::size_t kMaxPeek = 10'000;
  // Things that one call of expire() does.
  static constexpr std::size_t kMaxExpired = 1'000;

  Queue(QueueOptions options, MessageStore& store, QueueOutbox& outbox, Time now);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  QueueUser& open(std::uint64_t session);
  // Its waits end without an outcome, what it has in hand comes back.
  void end(QueueUser& user, Time now);

  // Takes the messages over, whatever comes of it. nullopt: it waits, an event tells the outcome. `atEnd`:
  // the outcome if all goes in (`full`: there were more than the owner has room for).
  std::optional<PutResult> put(QueueUser& user, std::uint64_t request,
                               std::span<QueueMessage* const> messages, Time deadline, Time now,
                               QueueOutcome atEnd = QueueOutcome::done);
  // A dead letter of another queue: beyond the bounds, since it was accepted once. False: closed or removed;
  // it stays the caller's.
  [[nodiscard]] bool putDead(QueueMessage& message, Time now);

  // done: `out` has at least one message. nullopt: it waits.
  std::optional<QueueOutcome> get(QueueUser& user, std::uint64_t request, const GetOptions& options,
                                  Time deadline, Time now, std::vector<QueueMessage*>& out);
  // It has `total` of those that it got without lease, counted from its opening. False: more than it got.
  [[nodiscard]] bool taken(QueueUser& user, std::uint64_t total, Time now);

  // By anybody who may use the queue. False: no such lease, or over.
  [[nodiscard]] bool ack(std::uint64_t lease, Time now);
  // Back, not to be had before `delay` is over. `counts`: as an attempt.
  [[nodiscard]] bool giveBack(std::uint64_t lease, bool counts, Time delay, Time now);
  // 0: the queue's time.
  [[nodiscard]] bool renew(std::uint64_t lease, Time time, Time now);

  // nullopt: waits. True: there is nothing unfinished; false: time-out of 0.
  std::optional<bool> join(QueueUser& user, std::uint64_t request, Time deadline, Time now);
  // False: more than were got without lease and are not done.
  [[nodiscard]] bool done(std::uint64_t count, Time now);

  // The wait ends without an outcome. False: it does not wait.
  bool abandon(QueueUser& user, std::uint64_t request, Time now);

  void pause() { paused_ = true; }
  void resume(Time now);
  void purge(Time now);
  void close(Time now);
  // A dead letter of it went nowhere.
  void countDropped() { ++counts_.dropped; }
  // Everything goes; waits end `removed`.
  void remove(Time now);

  // When expire() is to be called at the latest.
  Time nextDue() const;
  void expire(Time now);

  // In the order of delivery; behind the one of the id `after` if that is among the first kMaxPeek.
  std::vector<const QueueMessage*> peek(std::size_t max, std::uint64_t after) const;

  const QueueOptions& options() const { return options_; }
  bool paused() const { return paused_; }
  bool closed() const { return closed_; }
  bool removed() const { return removed_; }
  std::size_t ready() const { return fifo_.size() + ordered_.size(); }
  std::size_t delayed() const { return delayed_.size(); }
  std::size_t handedOut() const { return handedOut_; }
  std::uint64_t bytes() const { return waitingBytes_ + handedBytes_; }
  std::uint64_t unfinished() const { return unfinished_; }
  const QueueCounts& counts() const { return counts_; }
  double putRate(Time now) const { return putRate_.perSecond(now); }
  double getRate(Time now) const { return getRate_.perSecond(now); }
  // How long the next message has been in the queue.
  std::optional<Time> oldest(Time now) const;
  const QueueWaiters& putters() const { return putters_; }
  const QueueWaiters& getters() const { return getters_; }
  const QueueWaiters& joiners() const { return joiners_; }
  const std::list<QueueUser>& users() const { return users_; }
  // Leased to nobody.
  const MessageList& detached() const { return detached_; }
  bool inUse() const { return !users_.empty(); }

 private:
  // queue.cc
  bool fits(const QueueMessage& message) const;
  bool makeRoom(const QueueMessage& message);
  void accept(QueueMessage& message, Time now);
  void admit(QueueMessage& message);
  QueueMessage* next() const;
  QueueMessage* popNext();
  void handOut(QueueUser& user, const GetOptions& options, Time now, std::vector<QueueMessage*>& out);
  void drop(QueueMessage* message);
  std::size_t acceptSome(std::span<QueueMessage* const> messages, Time now, PutResult& result);
  void serveGetters(Time now);
  bool servePutters(Time now);
  // After anything that made messages ready, or room.
  void serve(Time now);
  QueueWaiter& wait(QueueWaiters& among, QueueWaiter waiter);
  void finish(QueueWaiters& among, QueueWaiters::iterator waiter, QueueOutcome outcome,
              std::vector<QueueMessage*> messages = {});
  void forget(QueueWaiters& among, QueueWaiters::iterator waiter);
  QueueWaiters& waitersOf(QueueWaiter::Kind kind);
  bool exhausted() const;

  // queue_settle.cc
  QueueMessage* takeLease(std::uint64_t lease);
  void takeFrom(QueueMessage& message);
  void bringBack(QueueMessage& message, bool counts, Time delay, Time now);
  void finished(std::uint64_t count);

  QueueOptions options_;
  MessageStore& store_;
  QueueOutbox& outbox_;
  // Of priority 0 and never delivered, in the order of their puts; all others that are ready.
  std::deque<QueueMessage*> fifo_;
  bool fifoGrew_ = false;
  OrderedMessages ordered_;
  DelayedMessages delayed_;
  LeasedMessages leases_;
  std::set<std::pair<Time, std::uint64_t>> leaseEnds_;  // of those that end by themselves
  MessageList detached_;
  std::list<QueueUser> users_;
  QueueWaiters putters_;
  QueueWaiters getters_;
  QueueWaiters joiners_;
  std::map<std::pair<Time, std::uint64_t>, QueueWaiter*> deadlines_;  // by time, number
  std::uint64_t lastWaiter_ = 0;
  std::uint64_t lastId_ = 0;
  std::uint64_t lastLease_ = 0;
  std::uint64_t waitingBytes_ = 0;
  std::uint64_t handedBytes_ = 0;
  std::size_t handedOut_ = 0;
  std::uint64_t unfinished_ = 0;
  std::uint64_t undone_ = 0;  // got without lease, not done
  QueueCounts counts_;
  Rate putRate_;
  Rate getRate_;
  bool paused_ = false;
  bool closed_ = false;
  bool removed_ = false;
};

}  // namespace baton::daemon
