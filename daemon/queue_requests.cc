#include "daemon/queue_requests.h"

#include <algorithm>

#include "daemon/queue_rows.h"

namespace baton::daemon {
namespace {

namespace wire = ipc::wire;

// A pipelining client has hundreds in flight; each costs some 300 bytes.
constexpr std::size_t kMaxWaiting = 4'096;
constexpr unsigned kMaxSettled = 10'000;
constexpr std::uint32_t kMaxPeeked = 1'000;
constexpr std::int32_t kMaxPriority = 1'000;
// Queues that are looked at in one turn of the loop when their time has come.
constexpr int kDueAtOnce = 64;

Time durationOf(std::uint64_t ns) {
  return ns > static_cast<std::uint64_t>(kForever.count()) ? kForever : Time(static_cast<std::int64_t>(ns));
}

// 2^64-1, and whatever is beyond the clock, is for ever.
Time deadlineOf(std::uint64_t timeoutNs, Time now) {
  const Time timeout = durationOf(timeoutNs);
  return timeout > kForever - now ? kForever : now + timeout;
}

QueueOptions optionsOf(wire::QueueOptions::Reader reader) {
  QueueOptions options;
  options.maxMessages = reader.getMaxMessages();
  options.maxBytes = reader.getMaxBytes();
  if (reader.getWhenFull() > wire::FullPolicy::DROP_OLDEST) {
    throw Error(Code::usage, "this daemon does not know that policy for a full queue");
  }
  options.whenFull = static_cast<FullPolicy>(reader.getWhenFull());
  options.maxAttempts = reader.getMaxAttempts();
  options.deadLetters = std::string(reader.getDeadLetters().begin(), reader.getDeadLetters().size());
  options.lease = durationOf(reader.getLeaseNs());
  return options;
}

}  // namespace

QueueRequests::QueueRequests(const Parts& parts, const QueueLimits& limits)
    : loop_(parts.loop), subscriptions_(parts.subscriptions), table_(limits) {
  dueTimer_ = loop_.onTimer([this] { due(); });
  sweeper_ = loop_.onTurn([this] { sweeper_.enable(table_.sweep()); });
}

bool QueueRequests::handle(Session& session, RequestId request, ipc::ReceivedFrame& received) {
  const wire::Frame::Reader frame = received.get();
  switch (frame.which()) {
    case wire::Frame::QUEUE_OPEN:
      open(session, request, frame.getQueueOpen());
      return true;
    case wire::Frame::QUEUE_PUT:
      put(session, request, frame.getQueuePut());
      return true;
    case wire::Frame::QUEUE_GET:
      get(session, request, frame.getQueueGet());
      return true;
    case wire::Frame::QUEUE_TAKEN:
      taken(session, frame.getQueueTaken());
      return true;
    case wire::Frame::QUEUE_SETTLE:
      settle(session, request, frame.getQueueSettle());
      return true;
    case wire::Frame::QUEUE_PEEK:
      peek(session, request, frame.getQueuePeek());
      return true;
    case wire::Frame::QUEUE_CONTROL:
      control(session, request, frame.getQueueControl());
      return true;
    case wire::Frame::QUEUE_JOIN:
      join(session, request, frame.getQueueJoin());
      return true;
    default:
      return false;
  }
}

// ---- handles ---------------------------------------------------------------------------------------------

std::shared_ptr<TableQueue> QueueRequests::openOrMake(const Session& session, wire::QueueOpen::Reader asked,
                                                      bool& created) {
  const auto name = asked.getName();
  const ObjectKey key = resolveName({name.begin(), name.size()}, session.uid);
  auto known = table_.find(key);
  const auto creation = asked.getCreation();
  created = known == nullptr && creation.getCreate();
  if (created)
    return table_.make(newHead(key, creation, session), optionsOf(asked.getOptions()), monotonicNow());
  const bool seen = known != nullptr && (mayAccess(known->head, session, Access::look) ||
                                         mayAccess(known->head, session, Access::use));
  if (!seen) throwUnknownName(*this, key, session);
  if (creation.getCreate() && creation.getExclusive()) {
    throw Error(Code::exists, "there is a queue " + spell(key, session.uid) + " already");
  }
  return known;
}

void QueueRequests::open(Session& session, RequestId request, wire::QueueOpen::Reader asked) {
  Handles& handles = handles_[session.id];
  const std::uint32_t number = newHandle(session, handles.size());
  bool created = false;
  const auto table = openOrMake(session, asked, created);
  handles.emplace(number, Handle{table, &table->queue.open(session.id),
                                 created || mayAccess(table->head, session, Access::look),
                                 created || mayAccess(table->head, session, Access::use)});
  auto message = std::make_unique<ipc::Message>();
  auto opened = message->frame().initQueueOpened();
  opened.setHandle(number);
  opened.setCreated(created);
  writeOptions(table->queue.options(), opened.initOptions());
  subscriptions_.finish(session, request, std::move(message));
}

QueueRequests::Handle& QueueRequests::handleOf(Session& session, std::uint32_t number, Access access) {
  const auto found = handles_.find(session.id);
  if (found == handles_.end() || !found->second.contains(number)) {
    throw Error(Code::usage, "no queue is open as " + std::to_string(number));
  }
  Handle& handle = found->second.at(number);
  if (!(access == Access::look ? handle.mayLook : handle.mayUse)) {
    throw Error(Code::refused, std::string("you may not ") + (access == Access::look ? "look at" : "use") +
                                   " queue " + spell(handle.table->head.key, session.uid));
  }
  return handle;
}

void QueueRequests::end(Handle& handle) {
  const Time now = monotonicNow();
  handle.queue().end(*handle.user, now);
  changed(*handle.table, now);
}

bool QueueRequests::closeHandle(Session& session, std::uint32_t number) {
  const auto found = handles_.find(session.id);
  const auto handle = found == handles_.end() ? Handles::iterator() : found->second.find(number);
  if (found == handles_.end() || handle == found->second.end()) return false;
  std::vector<RequestId> waiting;
  for (const auto& [request, waiter] : handle->second.user->waiting) waiting.push_back(request);
  Handle closing = handle->second;
  found->second.erase(handle);
  end(closing);
  for (const RequestId request : waiting) {
    if (!session.open.contains(request)) continue;  // what came back to the queue went to it
    auto message = std::make_unique<ipc::Message>();
    writeError(Error(Code::cancelled, "the queue was closed by this client"), request, *message);
    subscriptions_.finish(session, request, std::move(message));
  }
  return true;
}

bool QueueRequests::abandon(Session& session, RequestId request) {
  const auto found = handles_.find(session.id);
  if (found == handles_.end()) return false;
  const Time now = monotonicNow();
  for (auto& [number, handle] : found->second) {
    if (!handle.queue().abandon(*handle.user, request, now)) continue;
    changed(*handle.table, now);
    return true;
  }
  return false;
}

void QueueRequests::closed(Session& session) {
  auto node = handles_.extract(session.id);
  if (node.empty()) return;
  for (auto& [number, handle] : node.mapped()) end(handle);
}

// ---- requests --------------------------------------------------------------------------------------------

void QueueRequests::mayWait(const Session& session, RequestId request) const {
  if (session.open.contains(request)) throw Error(Code::protocol, "a request id that is in use");
  if (session.waiting.size() >= kMaxWaiting) {
    throw Error(Code::quota, "this connection waits for " + std::to_string(kMaxWaiting) + " answers already");
  }
}

void QueueRequests::put(Session& session, RequestId request, wire::QueuePut::Reader asked) {
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  mayWait(session, request);
  newMessages_.clear();
  for (const auto message : asked.getMessages()) {
    if (message.getPriority() < -kMaxPriority || message.getPriority() > kMaxPriority) {
      throw Error(Code::usage, "a priority is from -1000 to 1000");
    }
    const auto value = message.getValue();
    newMessages_.push_back({{reinterpret_cast<const std::byte*>(value.begin()), value.size()},
                            message.getPriority(),
                            durationOf(message.getDelayNs())});
  }
  const Time now = monotonicNow();
  const auto result = table_.put(*handle.table, *handle.user, request, newMessages_,
                                 deadlineOf(asked.getTimeoutNs(), now), now);
  if (result) {
    replyPut(session, request, *result);
  } else {
    subscriptions_.open(session, request, true);
  }
  changed(*handle.table, now);
}

void QueueRequests::take(Handle& handle, std::uint64_t total, Time now) {
  if (!handle.queue().taken(*handle.user, total, now)) {
    throw Error(Code::protocol, "more messages were said to be taken than were got");
  }
}

void QueueRequests::taken(Session& session, wire::QueueTaken::Reader asked) {
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  const Time now = monotonicNow();
  take(handle, asked.getTaken(), now);
  changed(*handle.table, now);
}

void QueueRequests::get(Session& session, RequestId request, wire::QueueGet::Reader asked) {
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  mayWait(session, request);
  const Time now = monotonicNow();
  take(handle, asked.getTaken(), now);
  const bool detached = asked.getLease() && asked.getDetached();
  const std::size_t inHand = detached ? handle.queue().detached().size() : handle.user->inHand();
  if (inHand >= Queue::kMaxInHand) {
    changed(*handle.table, now);
    throw Error(Code::quota, std::to_string(inHand) + " messages of queue " +
                                 spell(handle.table->head.key, session.uid) +
                                 " are held already: take or acknowledge some");
  }
  const GetOptions options{std::max<std::uint32_t>(asked.getMax(), 1), asked.getLease(),
                           durationOf(asked.getLeaseNs()), detached};
  got_.clear();
  const auto outcome =
      handle.queue().get(*handle.user, request, options, deadlineOf(asked.getTimeoutNs(), now), now, got_);
  if (outcome) {
    replyGet(session, request, *outcome, got_, now);
  } else {
    subscriptions_.open(session, request, true);
  }
  changed(*handle.table, now);
}

void QueueRequests::settle(Session& session, RequestId request, wire::QueueSettle::Reader asked) {
  using Action = wire::QueueSettle::Action;
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  if (asked.getLeases().size() > kMaxSettled) throw Error(Code::tooLarge, "at most 10,000 leases at once");
  if (asked.getAction() > Action::GIVE_BACK) {
    throw Error(Code::usage, "this daemon does not know that action on a lease");
  }
  const Time now = monotonicNow();
  const Time time = durationOf(asked.getNs());
  Queue& queue = handle.queue();
  std::vector<std::uint64_t> unknown;
  for (const std::uint64_t lease : asked.getLeases()) {
    bool known = false;
    switch (asked.getAction()) {
      case Action::ACK:
        known = queue.ack(lease, now);
        break;
      case Action::NACK:
        known = queue.giveBack(lease, true, time, now);
        break;
      case Action::RENEW:
        known = queue.renew(lease, time, now);
        break;
      case Action::GIVE_BACK:
        known = queue.giveBack(lease, false, Time{0}, now);
        break;
    }
    if (!known) unknown.push_back(lease);
  }
  auto message = std::make_unique<ipc::Message>();
  auto list = message->frame().initSettled().initUnknown(static_cast<unsigned>(unknown.size()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, unknown[i]);
  subscriptions_.finish(session, request, std::move(message));
  changed(*handle.table, now);
}

void QueueRequests::peek(Session& session, RequestId request, wire::QueuePeek::Reader asked) {
  const Handle& handle = handleOf(session, asked.getQueue(), Access::look);
  const Time now = monotonicNow();
  auto messages =
      handle.queue().peek(std::clamp<std::uint32_t>(asked.getMax(), 1, kMaxPeeked), asked.getAfter());
  std::size_t bytes = 0;
  const auto tooMany = std::find_if(messages.begin(), messages.end(), [&](const QueueMessage* message) {
    const bool first = bytes == 0;
    bytes += message->size + sizeof(QueueMessage);
    return !first && bytes > Queue::kMaxGetBytes;
  });
  messages.erase(tooMany, messages.end());
  const QueueOutcome outcome = handle.queue().removed() ? QueueOutcome::removed
                               : messages.empty()       ? QueueOutcome::empty
                                                        : QueueOutcome::done;
  auto reply = std::make_unique<ipc::Message>();
  writeMessages(reply->frame().initQueueMessages(), outcome, messages, now);
  subscriptions_.finish(session, request, std::move(reply));
}

void QueueRequests::control(Session& session, RequestId request, wire::QueueControl::Reader asked) {
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  const Time now = monotonicNow();
  Queue& queue = handle.queue();
  if (queue.removed()) throw Error(Code::removed, "the queue was removed");
  switch (asked.getAction()) {
    case wire::QueueControl::Action::PAUSE:
      queue.pause();
      break;
    case wire::QueueControl::Action::RESUME:
      queue.resume(now);
      break;
    case wire::QueueControl::Action::PURGE:
      queue.purge(now);
      break;
    case wire::QueueControl::Action::CLOSE:
      queue.close(now);
      break;
    case wire::QueueControl::Action::DONE:
      if (!queue.done(asked.getCount(), now)) {
        throw Error(Code::usage, "more messages were said to be done than were got without lease");
      }
      break;
    default:
      throw Error(Code::usage, "this daemon does not know that action on a queue");
  }
  ok(session, request);
  changed(*handle.table, now);
}

void QueueRequests::join(Session& session, RequestId request, wire::QueueJoin::Reader asked) {
  Handle& handle = handleOf(session, asked.getQueue(), Access::use);
  mayWait(session, request);
  const Time now = monotonicNow();
  const auto finished =
      handle.queue().join(*handle.user, request, deadlineOf(asked.getTimeoutNs(), now), now);
  if (finished) {
    replyJoin(session, request, *finished ? QueueOutcome::done : QueueOutcome::timedOut);
  } else {
    subscriptions_.open(session, request, true);
  }
  changed(*handle.table, now);
}

// ---- replies ---------------------------------------------------------------------------------------------

void QueueRequests::ok(Session& session, RequestId request) {
  auto message = std::make_unique<ipc::Message>();
  message->frame().setOk();
  subscriptions_.finish(session, request, std::move(message));
}

void QueueRequests::replyPut(Session& session, RequestId request, const PutResult& result) {
  auto message = std::make_unique<ipc::Message>();
  auto reply = message->frame().initQueuePutReply();
  reply.setAccepted(result.accepted);
  reply.setOutcome(static_cast<wire::QueueOutcome>(result.outcome));
  reply.setFirstId(result.firstId);
  subscriptions_.finish(session, request, std::move(message));
}

void QueueRequests::replyGet(Session& session, RequestId request, QueueOutcome outcome,
                             std::span<QueueMessage* const> messages, Time now) {
  auto message = std::make_unique<ipc::Message>();
  writeMessages(message->frame().initQueueMessages(), outcome, messages, now);
  subscriptions_.finish(session, request, std::move(message));
}

void QueueRequests::replyJoin(Session& session, RequestId request, QueueOutcome outcome) {
  if (outcome == QueueOutcome::done) {
    ok(session, request);
    return;
  }
  auto message = std::make_unique<ipc::Message>();
  writeError(outcome == QueueOutcome::removed
                 ? Error(Code::removed, "the queue was removed")
                 : Error(Code::timedOut, "not all messages of the queue were worked off in time"),
             request, *message);
  subscriptions_.finish(session, request, std::move(message));
}

void QueueRequests::answerWaiters(Time now) {
  for (const QueueEvent& event : table_.takeEvents()) {
    Session* session = server_->find(event.session);
    if (session == nullptr) continue;
    switch (event.kind) {
      case QueueWaiter::Kind::put:
        replyPut(*session, event.request, event.put);
        break;
      case QueueWaiter::Kind::get:
        replyGet(*session, event.request, event.outcome, event.messages, now);
        break;
      case QueueWaiter::Kind::join:
        replyJoin(*session, event.request, event.outcome);
        break;
    }
  }
}

// ---- time ------------------------------------------------------------------------------------------------

void QueueRequests::changed(TableQueue& table, Time now) {
  table_.settle(table, now);
  answerWaiters(now);
  arm(now);
  if (table_.sweeping()) sweeper_.enable(true);
}

void QueueRequests::arm(Time now) {
  const Time next = table_.nextDue();
  if (next == armedFor_) return;
  armedFor_ = next;
  if (next == kForever) {
    dueTimer_.disarm();
  } else {
    dueTimer_.arm(std::max(next - now, Time{0}));
  }
}

void QueueRequests::due() {
  const Time now = monotonicNow();
  armedFor_ = kForever;
  for (int i = 0; i < kDueAtOnce && table_.nextDue() <= now; ++i) {
    table_.expire(now);
    answerWaiters(now);
  }
  arm(now);
  if (table_.sweeping()) sweeper_.enable(true);
}

}  // namespace baton::daemon
