// What clients ask of locks: translations between frames and the lock table, and what belongs to them outside
// of it: lock pages, processes that hold locks, older daemons' clients, time.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "daemon/closer.h"
#include "daemon/generations.h"
#include "daemon/lock_pages.h"
#include "daemon/lock_table.h"
#include "daemon/object_requests.h"

namespace baton::daemon {

class LockRequests final : public ObjectRequests {
 public:
  struct Parts {
    Loop& loop;
    Subscriptions& subscriptions;
    Closer& closer;
    const std::string& stateDirectory;
  };
  explicit LockRequests(const Parts& parts);
  void setServer(Server& server) { server_ = &server; }
  void setLimit(std::uint64_t locks) { limit_ = locks; }  // of a uid

  // ObjectRequests
  ipc::wire::ObjectKind kind() const override { return ipc::wire::ObjectKind::LOCK; }
  std::string_view kindName() const override { return "lock"; }
  bool handle(Session& session, RequestId request, ipc::ReceivedFrame& frame) override;
  bool closeHandle(Session& session, std::uint32_t handle) override;
  bool abandon(Session& session, RequestId request) override;
  void closed(Session& session) override;
  const ObjectHead* find(const ObjectKey& key) const override;
  void visit(const ObjectKey& after, const std::function<bool(const ObjectHead&)>& row) const override;
  void write(const ObjectHead& head, bool all, ipc::wire::ObjectRow::Builder row) const override;
  void remove(Session& session, const ObjectHead& head, bool force) override;
  std::size_t count() const override { return table_.size(); }
  void fillStatus(ipc::wire::Status::Builder status) const override;

 private:
  // A session that has opened locks.
  struct User {
    LockClient client = 0;
    std::shared_ptr<const LockWho> who;
    std::unordered_map<std::uint32_t, LockId> handles;
    std::unordered_map<RequestId, LockWait> waits;
  };
  struct Waiting {
    SessionId session = 0;
    RequestId request = 0;
    LockClient holder = 0;  // the process that it is for; 0: the session itself
  };
  // A process that holds locks: its end is theirs.
  struct Holder {
    SessionId keeper = 0;  // releases for it as long as it is there; 0: nobody does
    ipc::Charge charge;    // for the descriptors
    shm::Fd pidfd;
    shm::Fd witness;  // open in its tree, if there is one
    bool ended = false;
    Source end;
    Source treeEnd;
    Source patience;
  };

  void open(Session& session, RequestId request, ipc::wire::LockOpen::Reader asked);
  void page(Session& session, RequestId request);
  void acquire(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  void acquireForProcess(Session& session, RequestId request, LockId lock, LockAcquire wanted,
                         ipc::ReceivedFrame& frame);
  void release(Session& session, RequestId request, ipc::wire::LockRelease::Reader asked);
  void returned(Session& session, ipc::wire::LockReturned::Reader asked);
  void bind(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  void control(Session& session, RequestId request, ipc::wire::LockControl::Reader asked);
  void conditionWait(Session& session, RequestId request, ipc::wire::ConditionWait::Reader asked);

  const Lock& make(Session& session, const ObjectKey& key, ipc::wire::LockOpen::Reader asked);
  User& user(const Session& session);
  // Of an open handle; nullptr: it was removed. Throws Error(usage).
  const Lock* lockIfThere(const Session& session, std::uint32_t handle) const;
  // The same. Throws Error(removed), too.
  const Lock& lockOf(const Session& session, std::uint32_t handle) const;
  LockWait beginWait(Session& session, RequestId request, LockClient holder = 0);
  LockParty holdOf(const Session& session, const Lock& lock, ipc::wire::LockRelease::Reader asked) const;
  LockClient hold(const Session& session, shm::Fd pidfd, shm::Fd witness);
  void keeperEnded(SessionId keeper);
  void holderEnded(LockClient client);
  void dropHolder(LockClient client);
  void treeEnded(LockClient client, bool treeMayLive);
  void dropIfUnused(LockId id);
  void beginGeneration();
  void lookAtOlder();
  // After each call to the table.
  void settle();
  void deliver(const LockOutcome& outcome);
  void expireGrants();
  void ok(Session& session, RequestId request);

  Loop& loop_;
  Subscriptions& subscriptions_;
  Closer& closer_;
  Server* server_ = nullptr;
  Generations generations_;
  LockPages pages_;
  LockTable table_{pages_};
  std::uint64_t limit_ = 1000;
  LockClient lastClient_ = 0;
  LockWait lastWait_ = 0;
  std::unordered_map<SessionId, User> users_;
  std::unordered_map<LockWait, Waiting> waiting_;
  std::unordered_map<LockClient, Holder> holders_;
  std::unordered_map<LockId, std::uint32_t> opens_;  // handles
  std::unordered_set<LockId> kept_;
  Source deadlines_;
  Source untaken_;
  Source older_;
};

}  // namespace baton::daemon
