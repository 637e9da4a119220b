// What clients ask of queues: one short function for each request, between frames and the QueueTable.
#pragma once

#include <map>
#include <unordered_map>

#include "daemon/object_requests.h"
#include "daemon/queue_table.h"

namespace baton::daemon {

class QueueRequests final : public ObjectRequests {
 public:
  struct Parts {
    Loop& loop;
    Subscriptions& subscriptions;
  };
  QueueRequests(const Parts& parts, const QueueLimits& limits);
  void setServer(Server& server) { server_ = &server; }
  void setLimits(const QueueLimits& limits) { table_.setLimits(limits); }

  // ObjectRequests
  ipc::wire::ObjectKind kind() const override { return ipc::wire::ObjectKind::QUEUE; }
  std::string_view kindName() const override { return "queue"; }
  bool handle(Session& session, RequestId request, ipc::ReceivedFrame& frame) override;
  bool closeHandle(Session& session, std::uint32_t handle) override;
  bool abandon(Session& session, RequestId request) override;
  void closed(Session& session) override;
  const ObjectHead* find(const ObjectKey& key) const override;
  void visit(const ObjectKey& after, const std::function<bool(const ObjectHead&)>& row) const override;
  void write(const ObjectHead& head, bool all, ipc::wire::ObjectRow::Builder row) const override;
  void remove(Session& session, const ObjectHead& head, bool force) override;
  std::size_t count() const override { return table_.all().size(); }
  void fillStatus(ipc::wire::Status::Builder status) const override;

 private:
  // A queue that a session has open.
  struct Handle {
    std::shared_ptr<TableQueue> table;
    QueueUser* user = nullptr;
    bool mayLook = false;
    bool mayUse = false;
    Queue& queue() const { return table->queue; }
  };
  using Handles = std::map<std::uint32_t, Handle>;

  void open(Session& session, RequestId request, ipc::wire::QueueOpen::Reader asked);
  void put(Session& session, RequestId request, ipc::wire::QueuePut::Reader asked);
  void get(Session& session, RequestId request, ipc::wire::QueueGet::Reader asked);
  void taken(Session& session, ipc::wire::QueueTaken::Reader asked);
  void settle(Session& session, RequestId request, ipc::wire::QueueSettle::Reader asked);
  void peek(Session& session, RequestId request, ipc::wire::QueuePeek::Reader asked);
  void control(Session& session, RequestId request, ipc::wire::QueueControl::Reader asked);
  void join(Session& session, RequestId request, ipc::wire::QueueJoin::Reader asked);

  std::shared_ptr<TableQueue> openOrMake(const Session& session, ipc::wire::QueueOpen::Reader asked,
                                         bool& created);
  Handle& handleOf(Session& session, std::uint32_t number, Access access);
  void end(Handle& handle);
  // A request that may wait comes: its id must be free, and the session may wait for one more.
  void mayWait(const Session& session, RequestId request) const;
  // Throws Error(protocol) for more than it got.
  void take(Handle& handle, std::uint64_t total, Time now);

  void replyPut(Session& session, RequestId request, const PutResult& result);
  // Messages that were handed out, or none.
  void replyGet(Session& session, RequestId request, QueueOutcome outcome,
                std::span<QueueMessage* const> messages, Time now);
  void replyJoin(Session& session, RequestId request, QueueOutcome outcome);
  void ok(Session& session, RequestId request);
  // After every change: answers those whose wait is over, and sets the timer for what is due next.
  void changed(TableQueue& table, Time now);
  void answerWaiters(Time now);
  void arm(Time now);
  void due();
  void writeUsers(const TableQueue& table, Time now, ipc::wire::ObjectRow::Builder row) const;
  void writeWaiting(const QueueWaiters& waiters, Time now,
                    ::capnp::List<ipc::wire::Party>::Builder list) const;
  void writeLeasers(const Queue& queue, Time now, ipc::wire::QueueRow::Builder row) const;

  Loop& loop_;
  Subscriptions& subscriptions_;
  Server* server_ = nullptr;
  QueueTable table_;
  std::unordered_map<SessionId, Handles> handles_;
  std::vector<QueueTable::NewMessage> newMessages_;  // of one put
  std::vector<QueueMessage*> got_;                   // of one get
  Source dueTimer_;
  Time armedFor_ = kForever;
  Source sweeper_;
};

}  // namespace baton::daemon
