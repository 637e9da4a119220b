// The Queue's part about what was handed out, and about ends: of messages, leases, users, of the queue.
#include <algorithm>
#include <utility>

#include "daemon/queue.h"

namespace baton::daemon {

// ---- handed out
// --------------------------------------------------------------------------------------------

// Out of the hands of who has it.
void Queue::takeFrom(QueueMessage& message) {
  if (message.lease == 0) {
    message.holder->delivered.remove(message);
  } else {
    (message.holder == nullptr ? detached_ : message.holder->leased).remove(message);
    leases_.erase(message.lease);
    leaseEnds_.erase({message.due, message.lease});
  }
  message.holder = nullptr;
  message.lease = 0;
  message.due = Time{0};
  --handedOut_;
  handedBytes_ -= message.size;
}

QueueMessage* Queue::takeLease(std::uint64_t lease) {
  const auto found = leases_.find(lease);
  if (found == leases_.end()) return nullptr;
  QueueMessage* message = found->second;
  takeFrom(*message);
  return message;
}

void Queue::finished(std::uint64_t count) {
  unfinished_ -= std::min(count, unfinished_);
}

bool Queue::ack(std::uint64_t lease, Time now) {
  QueueMessage* message = takeLease(lease);
  if (message == nullptr) return false;
  store_.free(message);
  ++counts_.acked;
  finished(1);
  if (unfinished_ == 0 || closed_) serve(now);
  return true;
}

bool Queue::taken(QueueUser& user, std::uint64_t total, Time now) {
  if (total > user.deliveredEver) return false;
  for (; user.takenEver < total; ++user.takenEver) {
    QueueMessage* message = user.delivered.front();
    takeFrom(*message);
    store_.free(message);
    ++counts_.acked;
  }
  if (closed_) serve(now);
  return true;
}

bool Queue::done(std::uint64_t count, Time now) {
  if (count > undone_) return false;
  undone_ -= count;
  finished(count);
  serve(now);
  return true;
}

// A message that nobody has any more: ready again, delayed, or dead.
void Queue::bringBack(QueueMessage& message, bool counts, Time delay, Time now) {
  if (!counts) {
    --message.attempt;
  } else if (options_.maxAttempts != 0 && message.attempt >= options_.maxAttempts) {
    ++counts_.dead;
    finished(1);
    outbox_.dead.push_back(&message);
    return;
  }
  ++counts_.redelivered;
  if (delay > Time{0}) {
    message.due = delay > kForever - now ? kForever : now + delay;
    waitingBytes_ += message.size;
    delayed_.emplace(std::pair(message.due, message.id), &message);
  } else {
    waitingBytes_ += message.size;
    ordered_.insert(&message);
  }
}

bool Queue::giveBack(std::uint64_t lease, bool counts, Time delay, Time now) {
  QueueMessage* message = takeLease(lease);
  if (message == nullptr) return false;
  bringBack(*message, counts, delay, now);
  serve(now);
  return true;
}

bool Queue::renew(std::uint64_t lease, Time time, Time now) {
  const auto found = leases_.find(lease);
  if (found == leases_.end()) return false;
  QueueMessage& message = *found->second;
  leaseEnds_.erase({message.due, lease});
  const Time wanted = time == Time{0} ? options_.lease : time;
  message.due = wanted > kForever - now ? kForever : now + wanted;
  if (message.due != kForever) leaseEnds_.emplace(message.due, lease);
  return true;
}

// ---- ends ------------------------------------------------------------------------------------------------

void Queue::end(QueueUser& user, Time now) {
  while (!user.waiting.empty()) {
    const auto waiter = user.waiting.begin()->second;
    forget(waitersOf(waiter->kind), waiter);
  }
  while (QueueMessage* message = user.leased.front()) {
    takeFrom(*message);
    bringBack(*message, true, Time{0}, now);
  }
  while (QueueMessage* message = user.delivered.front()) {
    takeFrom(*message);
    // It may have been called done before it was taken.
    (undone_ > 0 ? --undone_ : ++unfinished_);
    bringBack(*message, true, Time{0}, now);
  }
  users_.erase(user.self);
  serve(now);
}

void Queue::resume(Time now) {
  paused_ = false;
  serve(now);
}

void Queue::close(Time now) {
  closed_ = true;
  while (!putters_.empty()) finish(putters_, putters_.begin(), QueueOutcome::closed);
  serve(now);
}

void Queue::purge(Time now) {
  finished(ready() + delayed());
  waitingBytes_ = 0;
  QueueGrave& grave = outbox_.graves.emplace_back();
  grave.fifo.swap(fifo_);
  grave.ordered.swap(ordered_);
  grave.delayed.swap(delayed_);
  serve(now);
}

void Queue::remove(Time now) {
  closed_ = true;
  removed_ = true;
  for (QueueWaiters* waiters : {&putters_, &getters_, &joiners_}) {
    while (!waiters->empty()) finish(*waiters, waiters->begin(), QueueOutcome::removed);
  }
  purge(now);
  QueueGrave& grave = outbox_.graves.emplace_back();
  grave.leased.swap(leases_);
  for (QueueUser& user : users_) {
    grave.delivered.push_back(std::exchange(user.delivered, {}));
    user.leased = {};
    user.takenEver = user.deliveredEver;
  }
  detached_ = {};
  leaseEnds_.clear();
  handedOut_ = 0;
  handedBytes_ = 0;
  unfinished_ = 0;
}

bool QueueGrave::free(MessageStore& store, std::size_t count) {
  for (; count > 0 && !fifo.empty(); --count, fifo.pop_back()) store.free(fifo.back());
  for (; count > 0 && !ordered.empty(); --count) store.free(ordered.extract(ordered.begin()).value());
  for (; count > 0 && !delayed.empty(); --count) store.free(delayed.extract(delayed.begin()).mapped());
  for (; count > 0 && !leased.empty(); --count) store.free(leased.extract(leased.begin()).mapped());
  while (count > 0 && !delivered.empty()) {
    MessageList& list = delivered.back();
    for (; count > 0 && !list.empty(); --count) {
      QueueMessage* message = list.front();
      list.remove(*message);
      store.free(message);
    }
    if (list.empty()) delivered.pop_back();
  }
  return fifo.empty() && ordered.empty() && delayed.empty() && leased.empty() && delivered.empty();
}

// ---- time ------------------------------------------------------------------------------------------------

Time Queue::nextDue() const {
  Time due = kForever;
  if (!delayed_.empty()) due = std::min(due, delayed_.begin()->first.first);
  if (!leaseEnds_.empty()) due = std::min(due, leaseEnds_.begin()->first);
  if (!deadlines_.empty()) due = std::min(due, deadlines_.begin()->first.first);
  return due;
}

void Queue::expire(Time now) {
  std::size_t left = kMaxExpired;
  for (; left > 0 && !delayed_.empty() && delayed_.begin()->first.first <= now; --left) {
    QueueMessage* message = delayed_.extract(delayed_.begin()).mapped();
    message->due = Time{0};
    ordered_.insert(message);
  }
  for (; left > 0 && !leaseEnds_.empty() && leaseEnds_.begin()->first <= now; --left) {
    QueueMessage* message = takeLease(leaseEnds_.begin()->second);
    bringBack(*message, true, Time{0}, now);
  }
  // What has become ready goes to those whose time is over now, too.
  serve(now);
  for (; left > 0 && !deadlines_.empty() && deadlines_.begin()->first.first <= now; --left) {
    QueueWaiter* waiter = deadlines_.begin()->second;
    const auto at = waiter->user->waiting.at(waiter->request);
    finish(waitersOf(waiter->kind), at, QueueOutcome::timedOut);
  }
  serve(now);
}

// ---- looking
// -----------------------------------------------------------------------------------------------

std::vector<const QueueMessage*> Queue::peek(std::size_t max, std::uint64_t after) const {
  std::vector<const QueueMessage*> all;
  auto fifo = fifo_.begin();
  auto ordered = ordered_.begin();
  while (all.size() < kMaxPeek && (fifo != fifo_.end() || ordered != ordered_.end())) {
    const bool first = ordered == ordered_.end() || (fifo != fifo_.end() && QueueOrder()(*fifo, *ordered));
    all.push_back(first ? *fifo++ : *ordered++);
    if (after == 0 && all.size() == max) return all;
  }
  if (after == 0) return all;
  const auto known = std::find_if(all.begin(), all.end(), [&](const auto* m) { return m->id == after; });
  if (known != all.end()) {
    all.erase(all.begin(), known + 1);
  } else {
    std::erase_if(all, [&](const QueueMessage* message) { return message->id <= after; });
  }
  if (all.size() > max) all.resize(max);
  return all;
}

std::optional<Time> Queue::oldest(Time now) const {
  const QueueMessage* first = next();
  if (first == nullptr) return std::nullopt;
  return now - first->put;
}

}  // namespace baton::daemon
