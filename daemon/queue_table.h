// All queues, by owner and name: what a uid may have of them, where dead letters go, when something is due.
// Pure as Queue is.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "daemon/object_names.h"
#include "daemon/queue.h"

namespace baton::daemon {

struct QueueLimits {
  std::uint64_t queues = 1'000;        // of a uid
  std::uint64_t bytes = 256ULL << 20;  // of a uid's messages
};

// A queue in the table. Kept alive by those who have it open after it is removed.
struct TableQueue {
  TableQueue(const ObjectHead& h, QueueOptions options, MessageStore& store, QueueOutbox& outbox, Time now)
      : head(h), made(now), queue(std::move(options), store, outbox, now) {}
  ObjectHead head;
  Time made;
  Queue queue;
  Time listed = kForever;  // under which the table's order of dues has it
};

class QueueTable {
 public:
  explicit QueueTable(const QueueLimits& limits) : limits_(limits), store_(limits.bytes) {}
  ~QueueTable();

  void setLimits(const QueueLimits& limits);

  // nullptr: absent.
  std::shared_ptr<TableQueue> find(const ObjectKey& key) const;
  // Throws Error(usage) for options that make no sense, Error(quota).
  std::shared_ptr<TableQueue> make(const ObjectHead& head, QueueOptions options, Time now);
  // Throws Error(refused) if it is in use by others than `session`, or not empty, unless `force`.
  void remove(const std::shared_ptr<TableQueue>& queue, std::uint64_t session, bool force, Time now);

  struct NewMessage {
    std::span<const std::byte> value;
    std::int32_t priority = 0;
    Time delay{0};
  };
  // As Queue::put. Charges the owner for each message first; Error(quota) if there is no room for the first
  // one. Throws Error(tooLarge) for one that can never be in this queue, before anything is put.
  std::optional<PutResult> put(TableQueue& queue, QueueUser& user, std::uint64_t request,
                               std::span<const NewMessage> messages, Time deadline, Time now);

  // After each call to a queue of the table: passes dead letters on, and takes note of what is due. What is
  // left in the outbox are events.
  void settle(TableQueue& queue, Time now);
  std::vector<QueueEvent> takeEvents() { return std::exchange(outbox_.events, {}); }

  Time nextDue() const { return due_.empty() ? kForever : due_.begin()->first; }
  // One queue of those that are due.
  void expire(Time now);

  // Messages thrown away are freed some at a time. True: there is more to do.
  bool sweep();
  bool sweeping() const { return !outbox_.graves.empty(); }

  const std::map<ObjectKey, std::shared_ptr<TableQueue>>& all() const { return queues_; }
  std::uint64_t bytes() const { return store_.bytes(); }

 private:
  struct Owner {
    MessageAccount account;
    std::uint64_t queues = 0;
  };
  void passOn(TableQueue& from, QueueMessage& message, Time now);
  std::shared_ptr<TableQueue> deadLettersOf(TableQueue& from, Time now);
  void note(TableQueue& queue);

  QueueLimits limits_;
  MessageStore store_;
  QueueOutbox outbox_;
  std::map<Uid, Owner> owners_;  // a uid once seen is remembered: messages point there
  std::map<ObjectKey, std::shared_ptr<TableQueue>> queues_;
  std::set<std::pair<Time, TableQueue*>> due_;
  std::vector<QueueMessage*> scratch_;
};

}  // namespace baton::daemon
