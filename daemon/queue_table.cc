#include "daemon/queue_table.h"

#include <algorithm>

#include "ipc/error.h"
#include "ipc/units.h"

namespace baton::daemon {
namespace {

constexpr std::uint64_t kMaxAttempts = 1'000'000;
// Some tenths of a millisecond.
constexpr std::size_t kSweptAtOnce = 2'000;

void check(const ObjectKey& key, const QueueOptions& options) {
  if (options.maxMessages == 0 || options.maxBytes == 0) {
    throw Error(Code::usage, "a queue needs room for at least one message and one byte");
  }
  if (options.maxAttempts > kMaxAttempts) throw Error(Code::usage, "at most 1,000,000 attempts");
  if (options.lease <= Time{0}) throw Error(Code::usage, "a lease must last for some time");
  if (options.deadLetters.empty()) return;
  if (!isObjectName(options.deadLetters)) {
    throw Error(Code::usage, "dead letters go to a queue of the same owner, given by its name alone");
  }
  if (options.deadLetters == key.name) {
    throw Error(Code::usage, "a queue cannot be its own dead-letter queue: its messages would never end");
  }
  if (options.maxAttempts == 0) {
    throw Error(Code::usage,
                "a dead-letter queue needs a number of attempts after which a message goes there");
  }
}

}  // namespace

QueueTable::~QueueTable() {
  for (QueueMessage* message : outbox_.dead) store_.free(message);
  while (sweep()) {
  }
}

void QueueTable::setLimits(const QueueLimits& limits) {
  limits_ = limits;
  store_.setLimit(limits.bytes);
}

std::shared_ptr<TableQueue> QueueTable::find(const ObjectKey& key) const {
  const auto found = queues_.find(key);
  return found == queues_.end() ? nullptr : found->second;
}

std::shared_ptr<TableQueue> QueueTable::make(const ObjectHead& head, QueueOptions options, Time now) {
  check(head.key, options);
  Owner& owner = owners_[head.key.uid];
  if (owner.queues >= limits_.queues) {
    throw Error(Code::quota, "there are " + std::to_string(owner.queues) +
                                 " queues already: remove one, or raise the limit (config queues)");
  }
  auto made = std::make_shared<TableQueue>(head, std::move(options), store_, outbox_, now);
  queues_.emplace(head.key, made);
  ++owner.queues;
  return made;
}

void QueueTable::remove(const std::shared_ptr<TableQueue>& queue, std::uint64_t session, bool force,
                        Time now) {
  const auto& users = queue->queue.users();
  const auto others = std::count_if(users.begin(), users.end(),
                                    [&](const QueueUser& user) { return user.session != session; });
  if (!force) {
    const std::string name = "queue " + queue->head.key.name;
    const std::size_t left = queue->queue.ready() + queue->queue.delayed() + queue->queue.handedOut();
    if (left > 0) {
      throw Error(Code::refused,
                  name + " has " + std::to_string(left) + " messages; --force removes it with them");
    }
    if (others > 0) {
      throw Error(Code::refused,
                  name + " is in use by " +
                      (others == 1 ? "another program" : std::to_string(others) + " other programs") +
                      "; `queue show` tells who, --force removes it all the same");
    }
  }
  queue->queue.remove(now);
  queues_.erase(queue->head.key);
  --owners_[queue->head.key.uid].queues;
  settle(*queue, now);
}

std::optional<PutResult> QueueTable::put(TableQueue& queue, QueueUser& user, std::uint64_t request,
                                         std::span<const NewMessage> messages, Time deadline, Time now) {
  const std::uint64_t most = std::min<std::uint64_t>(Queue::kMaxValueBytes, queue.queue.options().maxBytes);
  for (const NewMessage& message : messages) {
    if (message.value.size() > most) {
      throw Error(Code::tooLarge, "a message of " + std::to_string(message.value.size()) +
                                      " bytes; at most " + std::to_string(most) + " are taken here");
    }
  }
  MessageAccount& account = owners_[queue.head.key.uid].account;
  QueueOutcome atEnd = QueueOutcome::done;
  scratch_.clear();
  for (const NewMessage& message : messages) {
    QueueMessage* made = store_.make(account, message.value);
    if (made == nullptr) {
      atEnd = QueueOutcome::full;
      break;
    }
    made->priority = message.priority;
    made->due = message.delay > kForever - now ? kForever : now + message.delay;
    scratch_.push_back(made);
  }
  if (scratch_.empty() && !messages.empty() && !queue.queue.closed()) {
    throw Error(Code::quota, "your queues hold " + ipc::spellSize(account.bytes) + " of " +
                                 ipc::spellSize(store_.limit()) + " already (config queue_bytes)");
  }
  auto result = queue.queue.put(user, request, scratch_, deadline, now, atEnd);
  settle(queue, now);
  return result;
}

// By name, made if it is absent: what was accepted once is not to be lost for want of a queue.
std::shared_ptr<TableQueue> QueueTable::deadLettersOf(TableQueue& from, Time now) {
  const std::string& name = from.queue.options().deadLetters;
  if (name.empty()) return nullptr;
  ObjectHead head = from.head;
  head.key.name = name;
  if (auto known = find(head.key)) return known;
  head.createdNs = from.head.createdNs + static_cast<std::uint64_t>((now - from.made).count());
  try {
    return make(head, {}, now);
  } catch (const Error&) {
    // The owner has too many queues: counted as dropped.
    return nullptr;
  }
}

void QueueTable::passOn(TableQueue& from, QueueMessage& message, Time now) {
  const auto to = deadLettersOf(from, now);
  if (to != nullptr && to->queue.putDead(message, now)) {
    note(*to);
    return;
  }
  if (!from.queue.options().deadLetters.empty()) from.queue.countDropped();
  store_.free(&message);
}

void QueueTable::settle(TableQueue& queue, Time now) {
  if (!outbox_.dead.empty()) {
    for (QueueMessage* message : std::exchange(outbox_.dead, {})) passOn(queue, *message, now);
  }
  note(queue);
}

void QueueTable::note(TableQueue& queue) {
  const Time due = queue.queue.nextDue();
  if (due == queue.listed) return;
  if (queue.listed != kForever) due_.erase({queue.listed, &queue});
  if (due != kForever) due_.emplace(due, &queue);
  queue.listed = due;
}

void QueueTable::expire(Time now) {
  if (nextDue() > now) return;
  TableQueue& queue = *due_.begin()->second;
  queue.queue.expire(now);
  settle(queue, now);
}

bool QueueTable::sweep() {
  if (!outbox_.graves.empty() && outbox_.graves.back().free(store_, kSweptAtOnce)) outbox_.graves.pop_back();
  return !outbox_.graves.empty();
}

}  // namespace baton::daemon
