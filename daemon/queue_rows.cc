#include "daemon/queue_rows.h"

#include "daemon/loop.h"
#include "daemon/queue_requests.h"

namespace baton::daemon {
namespace {

namespace wire = ipc::wire;

// Of users in one row.
constexpr unsigned kMaxParties = 100;

std::uint64_t nsOf(Time time) {
  return time == kForever ? ~std::uint64_t{0} : static_cast<std::uint64_t>(time.count());
}

}  // namespace

void writeOptions(const QueueOptions& options, wire::QueueOptions::Builder to) {
  to.setMaxMessages(options.maxMessages);
  to.setMaxBytes(options.maxBytes);
  to.setWhenFull(static_cast<wire::FullPolicy>(options.whenFull));
  to.setMaxAttempts(options.maxAttempts);
  to.setDeadLetters(options.deadLetters);
  to.setLeaseNs(nsOf(options.lease));
}

void writeRow(const Queue& queue, Time now, wire::QueueRow::Builder row) {
  writeOptions(queue.options(), row.initOptions());
  row.setReady(queue.ready());
  row.setDelayed(queue.delayed());
  row.setLeased(queue.handedOut());
  row.setUnfinished(queue.unfinished());
  row.setBytes(queue.bytes());
  row.setPaused(queue.paused());
  row.setClosed(queue.closed());
  row.setOldestNs(nsOf(queue.oldest(now).value_or(Time{0})));
  const QueueCounts& counts = queue.counts();
  row.setPutEver(counts.put);
  row.setGotEver(counts.got);
  row.setAckedEver(counts.acked);
  row.setRedeliveredEver(counts.redelivered);
  row.setDroppedEver(counts.dropped);
  row.setDeadEver(counts.dead);
  row.setPutRate(queue.putRate(now));
  row.setGetRate(queue.getRate(now));
  row.setWaitingPutters(static_cast<std::uint32_t>(queue.putters().size()));
  row.setWaitingGetters(static_cast<std::uint32_t>(queue.getters().size()));
}

void writeMessages(wire::QueueMessages::Builder to, QueueOutcome outcome,
                   std::span<const QueueMessage* const> messages, Time now) {
  to.setOutcome(static_cast<wire::QueueOutcome>(outcome));
  if (messages.empty()) return;
  const std::uint64_t calendarNs = calendarNowNs();
  auto list = to.initMessages(static_cast<unsigned>(messages.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    const QueueMessage& message = *messages[i];
    auto built = list[i];
    built.setId(message.id);
    built.setValue({reinterpret_cast<const kj::byte*>(message.bytes()), message.size});
    built.setPriority(message.priority);
    built.setAttempt(message.attempt);
    built.setLease(message.lease);
    built.setPutNs(calendarNs - nsOf(now - message.put));
  }
}

// ---- the QueueRequests' part about listing
// -------------------------------------------------------------------

const ObjectHead* QueueRequests::find(const ObjectKey& key) const {
  const auto table = table_.find(key);
  return table == nullptr ? nullptr : &table->head;
}

void QueueRequests::visit(const ObjectKey& after, const std::function<bool(const ObjectHead&)>& row) const {
  for (auto at = table_.all().upper_bound(after); at != table_.all().end(); ++at) {
    if (!row(at->second->head)) return;
  }
}

void QueueRequests::remove(Session& session, const ObjectHead& head, bool force) {
  const auto table = table_.find(head.key);
  const Time now = monotonicNow();
  table_.remove(table, session.id, force, now);
  changed(*table, now);
}

void QueueRequests::fillStatus(wire::Status::Builder status) const {
  status.setQueues(static_cast<std::uint32_t>(table_.all().size()));
  status.setQueueBytes(table_.bytes());
}

void QueueRequests::write(const ObjectHead& head, bool all, wire::ObjectRow::Builder row) const {
  const auto table = table_.find(head.key);
  const Time now = monotonicNow();
  auto queueRow = row.initQueue();
  writeRow(table->queue, now, queueRow);
  row.setUserCount(static_cast<std::uint32_t>(table->queue.users().size()));
  if (!all) return;
  writeUsers(*table, now, row);
  writeWaiting(
      table->queue.putters(), now,
      queueRow.initPutters(std::min(kMaxParties, static_cast<unsigned>(table->queue.putters().size()))));
  writeWaiting(
      table->queue.getters(), now,
      queueRow.initGetters(std::min(kMaxParties, static_cast<unsigned>(table->queue.getters().size()))));
  writeLeasers(table->queue, now, queueRow);
}

void QueueRequests::writeUsers(const TableQueue& table, Time, wire::ObjectRow::Builder row) const {
  const auto& users = table.queue.users();
  auto list = row.initUsers(std::min(kMaxParties, static_cast<unsigned>(users.size())));
  auto user = users.begin();
  for (unsigned i = 0; i < list.size(); ++i, ++user) {
    if (const Session* session = server_->find(user->session)) writeParty(*session, list[i]);
    list[i].setCount(user->inHand());
  }
}

void QueueRequests::writeWaiting(const QueueWaiters& waiters, Time now,
                                 capnp::List<wire::Party>::Builder list) const {
  auto waiter = waiters.begin();
  for (unsigned i = 0; i < list.size(); ++i, ++waiter) {
    if (const Session* session = server_->find(waiter->user->session)) writeParty(*session, list[i]);
    list[i].setForNs(nsOf(now - waiter->since));
  }
}

void QueueRequests::writeLeasers(const Queue& queue, Time now, wire::QueueRow::Builder row) const {
  struct Leaser {
    const Session* session = nullptr;
    std::size_t count = 0;
    Time since{0};
  };
  std::vector<Leaser> leasers;
  const auto add = [&](const Session* session, const MessageList& list) {
    if (!list.empty() && leasers.size() < kMaxParties) {
      leasers.push_back({session, list.size(), list.front()->handed});
    }
  };
  add(nullptr, queue.detached());
  for (const QueueUser& user : queue.users()) {
    add(server_->find(user.session), user.leased);
    add(server_->find(user.session), user.delivered);
  }
  auto list = row.initLeasers(static_cast<unsigned>(leasers.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    // Without program: a lease that is nobody's.
    if (leasers[i].session != nullptr) writeParty(*leasers[i].session, list[i]);
    list[i].setCount(leasers[i].count);
    list[i].setForNs(nsOf(now - leasers[i].since));
  }
}

}  // namespace baton::daemon
