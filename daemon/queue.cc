#include "daemon/queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace baton::daemon {
namespace {

// A lease's number must not be one of an earlier queue of this name: somebody may still hold it. Nobody
// leases more than a million messages a second.
std::uint64_t firstLease(Time now) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

// Beyond that many messages the index of a deque takes more than 8 KiB.
constexpr std::size_t kFifoGrown = 65'536;

}  // namespace

Queue::Queue(QueueOptions options, MessageStore& store, QueueOutbox& outbox, Time now)
    : options_(std::move(options)),
      store_(store),
      outbox_(outbox),
      lastLease_(firstLease(now)),
      putRate_(now),
      getRate_(now) {}

Queue::~Queue() {
  const auto freeList = [this](MessageList& list) {
    while (QueueMessage* message = list.front()) {
      list.remove(*message);
      store_.free(message);
    }
  };
  for (QueueMessage* message : fifo_) store_.free(message);
  for (QueueMessage* message : ordered_) store_.free(message);
  for (const auto& [due, message] : delayed_) store_.free(message);
  freeList(detached_);
  for (QueueUser& user : users_) {
    freeList(user.leased);
    freeList(user.delivered);
  }
  for (const QueueWaiter& waiter : putters_) {
    for (std::size_t i = waiter.next; i < waiter.messages.size(); ++i) store_.free(waiter.messages[i]);
  }
}

QueueUser& Queue::open(std::uint64_t session) {
  QueueUser& user = users_.emplace_back();
  user.session = session;
  user.self = std::prev(users_.end());
  return user;
}

// ---- in --------------------------------------------------------------------------------------------------

bool Queue::fits(const QueueMessage& message) const {
  return ready() + delayed() < options_.maxMessages && waitingBytes_ + message.size <= options_.maxBytes;
}

void Queue::drop(QueueMessage* message) {
  waitingBytes_ -= message->size;
  ++counts_.dropped;
  finished(1);
  store_.free(message);
}

// By dropping what rule 4 says.
bool Queue::makeRoom(const QueueMessage& message) {
  while (!fits(message)) {
    if (ready() == 0) {
      if (delayed_.empty()) return false;
      drop(delayed_.extract(delayed_.begin()).mapped());
      continue;
    }
    auto oldest = ordered_.end();
    if (!ordered_.empty()) {
      QueueMessage level;
      level.priority = (*ordered_.rbegin())->priority;
      if (!fifo_.empty()) level.priority = std::min(level.priority, 0);
      oldest = ordered_.lower_bound(&level);
    }
    if (!fifo_.empty() && (oldest == ordered_.end() || QueueOrder()(fifo_.front(), *oldest))) {
      const bool lower = oldest != ordered_.end() && (*oldest)->priority < 0;
      if (!lower) {
        drop(fifo_.front());
        fifo_.pop_front();
        continue;
      }
    }
    QueueMessage* message = *oldest;
    ordered_.erase(oldest);
    drop(message);
  }
  return true;
}

// It is in the queue from now on.
void Queue::admit(QueueMessage& message) {
  waitingBytes_ += message.size;
  if (message.priority == 0 && message.attempt == 0) {
    fifo_.push_back(&message);
    fifoGrew_ = fifoGrew_ || fifo_.size() > kFifoGrown;
  } else {
    ordered_.insert(&message);
  }
}

void Queue::accept(QueueMessage& message, Time now) {
  message.id = ++lastId_;
  message.put = now;
  ++unfinished_;
  if (message.due > now) {
    waitingBytes_ += message.size;
    delayed_.emplace(std::pair(message.due, message.id), &message);
  } else {
    admit(message);
  }
}

// As many of the first as there is room for.
std::size_t Queue::acceptSome(std::span<QueueMessage* const> messages, Time now, PutResult& result) {
  std::size_t taken = 0;
  for (QueueMessage* message : messages) {
    if (!fits(*message)) {
      serveGetters(now);
      const bool room = fits(*message) || (options_.whenFull == FullPolicy::dropOldest && makeRoom(*message));
      if (!room) break;
    }
    accept(*message, now);
    if (result.accepted++ == 0) result.firstId = message->id;
    ++taken;
  }
  counts_.put += taken;
  putRate_.add(taken, now);
  return taken;
}

std::optional<PutResult> Queue::put(QueueUser& user, std::uint64_t request,
                                    std::span<QueueMessage* const> messages, Time deadline, Time now,
                                    QueueOutcome atEnd) {
  PutResult result;
  result.outcome = atEnd;
  std::size_t taken = 0;
  if (removed_ || closed_) {
    result.outcome = removed_ ? QueueOutcome::removed : QueueOutcome::closed;
  } else {
    if (putters_.empty()) {
      taken = acceptSome(messages, now, result);
      serve(now);
    }
    if (taken == messages.size()) return result;
    result.outcome = QueueOutcome::full;
    if (options_.whenFull == FullPolicy::block && deadline > now) {
      QueueWaiter waiter{.kind = QueueWaiter::Kind::put,
                         .user = &user,
                         .request = request,
                         .since = now,
                         .deadline = deadline,
                         .messages = {messages.begin() + static_cast<std::ptrdiff_t>(taken), messages.end()},
                         .atEnd = atEnd,
                         .accepted = result.accepted,
                         .firstId = result.firstId};
      wait(putters_, std::move(waiter));
      return std::nullopt;
    }
  }
  for (QueueMessage* message : messages.subspan(taken)) store_.free(message);
  return result;
}

bool Queue::putDead(QueueMessage& message, Time now) {
  if (closed_ || removed_) return false;
  if (options_.whenFull == FullPolicy::dropOldest) makeRoom(message);
  message.attempt = 0;
  message.due = Time{0};
  const Time put = message.put;
  accept(message, now);
  message.put = put;
  ++counts_.put;
  putRate_.add(1, now);
  serve(now);
  return true;
}

// ---- out -------------------------------------------------------------------------------------------------

QueueMessage* Queue::next() const {
  if (fifo_.empty()) return ordered_.empty() ? nullptr : *ordered_.begin();
  if (ordered_.empty() || QueueOrder()(fifo_.front(), *ordered_.begin())) return fifo_.front();
  return *ordered_.begin();
}

QueueMessage* Queue::popNext() {
  QueueMessage* message = next();
  if (!fifo_.empty() && message == fifo_.front()) {
    fifo_.pop_front();
    if (fifo_.empty() && fifoGrew_) {
      // Its index of blocks never shrinks by itself.
      std::deque<QueueMessage*>().swap(fifo_);
      fifoGrew_ = false;
    }
  } else {
    ordered_.erase(ordered_.begin());
  }
  return message;
}

void Queue::handOut(QueueUser& user, const GetOptions& options, Time now, std::vector<QueueMessage*>& out) {
  const std::size_t room = options.detached ? kMaxInHand : kMaxInHand - std::min(kMaxInHand, user.inHand());
  const std::size_t most = std::max<std::size_t>(1, std::min<std::size_t>(options.max, room));
  const Time leaseTime = options.leaseTime == Time{0} ? options_.lease : options.leaseTime;
  std::size_t bytes = 0;
  std::size_t count = 0;
  for (; count < most; ++count) {
    const QueueMessage* first = next();
    if (first == nullptr || (count > 0 && bytes + first->size > kMaxGetBytes)) break;
    QueueMessage* message = popNext();
    bytes += message->size;
    ++message->attempt;
    message->handed = now;
    message->holder = options.lease && options.detached ? nullptr : &user;
    if (options.lease) {
      message->lease = ++lastLease_;
      message->due = leaseTime > kForever - now ? kForever : now + leaseTime;
      if (message->due != kForever) leaseEnds_.emplace(message->due, message->lease);
      leases_.emplace(message->lease, message);
      (options.detached ? detached_ : user.leased).pushBack(*message);
    } else {
      user.delivered.pushBack(*message);
    }
    out.push_back(message);
  }
  if (!options.lease) {
    user.deliveredEver += count;
    undone_ += count;
  }
  waitingBytes_ -= bytes;
  handedBytes_ += bytes;
  handedOut_ += count;
  counts_.got += count;
  getRate_.add(count, now);
}

std::optional<QueueOutcome> Queue::get(QueueUser& user, std::uint64_t request, const GetOptions& options,
                                       Time deadline, Time now, std::vector<QueueMessage*>& out) {
  if (removed_) return QueueOutcome::removed;
  // Nobody is overtaken: while others wait nothing is ready, or it is paused.
  if (!paused_ && ready() > 0) {
    handOut(user, options, now, out);
    serve(now);
    return QueueOutcome::done;
  }
  if (exhausted()) return QueueOutcome::closed;
  if (deadline <= now) return QueueOutcome::empty;
  wait(getters_, {.kind = QueueWaiter::Kind::get,
                  .user = &user,
                  .request = request,
                  .since = now,
                  .deadline = deadline,
                  .get = options});
  return std::nullopt;
}

bool Queue::exhausted() const {
  return closed_ && ready() == 0 && delayed() == 0 && handedOut_ == 0;
}

void Queue::serveGetters(Time now) {
  while (!paused_ && !getters_.empty() && ready() > 0) {
    const auto getter = getters_.begin();
    std::vector<QueueMessage*> messages;
    handOut(*getter->user, getter->get, now, messages);
    finish(getters_, getter, QueueOutcome::done, std::move(messages));
  }
}

bool Queue::servePutters(Time now) {
  bool any = false;
  while (!putters_.empty()) {
    const auto putter = putters_.begin();
    PutResult result{QueueOutcome::done, putter->accepted, putter->firstId};
    const std::size_t taken =
        acceptSome(std::span<QueueMessage* const>(putter->messages).subspan(putter->next), now, result);
    any = any || taken > 0;
    putter->next += taken;
    putter->accepted = result.accepted;
    putter->firstId = result.firstId;
    if (putter->next < putter->messages.size()) break;
    finish(putters_, putter, putter->atEnd);
  }
  return any;
}

void Queue::serve(Time now) {
  do {
    serveGetters(now);
  } while (servePutters(now));
  while (!getters_.empty() && exhausted()) finish(getters_, getters_.begin(), QueueOutcome::closed);
  while (!joiners_.empty() && unfinished_ == 0) finish(joiners_, joiners_.begin(), QueueOutcome::done);
}

// ---- waiting ---------------------------------------------------------------------------------------------

QueueWaiters& Queue::waitersOf(QueueWaiter::Kind kind) {
  switch (kind) {
    case QueueWaiter::Kind::put:
      return putters_;
    case QueueWaiter::Kind::get:
      return getters_;
    case QueueWaiter::Kind::join:
      break;
  }
  return joiners_;
}

QueueWaiter& Queue::wait(QueueWaiters& among, QueueWaiter waiter) {
  QueueWaiter& made = among.emplace_back(std::move(waiter));
  made.user->waiting.emplace(made.request, std::prev(among.end()));
  made.number = ++lastWaiter_;
  if (made.deadline != kForever) deadlines_.emplace(std::pair(made.deadline, made.number), &made);
  return made;
}

void Queue::forget(QueueWaiters& among, QueueWaiters::iterator waiter) {
  for (std::size_t i = waiter->next; i < waiter->messages.size(); ++i) store_.free(waiter->messages[i]);
  deadlines_.erase({waiter->deadline, waiter->number});
  waiter->user->waiting.erase(waiter->request);
  among.erase(waiter);
}

void Queue::finish(QueueWaiters& among, QueueWaiters::iterator waiter, QueueOutcome outcome,
                   std::vector<QueueMessage*> messages) {
  outbox_.events.push_back({.kind = waiter->kind,
                            .session = waiter->user->session,
                            .request = waiter->request,
                            .outcome = outcome,
                            .put = {outcome, waiter->accepted, waiter->firstId},
                            .user = waiter->user,
                            .messages = std::move(messages)});
  forget(among, waiter);
}

bool Queue::abandon(QueueUser& user, std::uint64_t request, Time now) {
  const auto found = user.waiting.find(request);
  if (found == user.waiting.end()) return false;
  forget(waitersOf(found->second->kind), found->second);
  // Who waited behind a put that was too large may have room.
  serve(now);
  return true;
}

std::optional<bool> Queue::join(QueueUser& user, std::uint64_t request, Time deadline, Time now) {
  if (unfinished_ == 0) return true;
  if (deadline <= now) return false;
  wait(joiners_, {.kind = QueueWaiter::Kind::join,
                  .user = &user,
                  .request = request,
                  .since = now,
                  .deadline = deadline});
  return std::nullopt;
}

}  // namespace baton::daemon
