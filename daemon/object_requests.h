// What queues, locks, pipes and shared memories have in common towards clients: names, permissions, listing,
// handles, requests that wait. Each kind is an ObjectRequests; ObjectDispatch asks them.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "daemon/object_names.h"
#include "daemon/subscriptions.h"

namespace baton::daemon {

enum class Access : std::uint8_t { look = 4, use = 2 };
// As for a file: the owner's bits count for the owner, the group's for its members, the rest for others.
bool mayAccess(const ObjectHead& head, const Session& session, Access access);

// A new object's head from `creation`. Throws Error(refused) for one in somebody else's name, Error(usage)
// for mode bits that are none.
ObjectHead newHead(const ObjectKey& key, ipc::wire::Creation::Reader creation, const Session& session);

// A handle is a number of a session's, whatever it stands for; closeHandle names no kind. `open`: how many of
// the kind it has. Throws Error(quota).
std::uint32_t newHandle(Session& session, std::size_t open);

// The requests of one kind.
class ObjectRequests {
 public:
  virtual ~ObjectRequests() = default;
  virtual ipc::wire::ObjectKind kind() const = 0;
  virtual std::string_view kindName() const = 0;  // "queue"

  // False: no request of this kind. Throws Error for the reply.
  virtual bool handle(Session& session, RequestId request, ipc::ReceivedFrame& frame) = 0;
  // What it held is given back. False: no handle of this kind.
  virtual bool closeHandle(Session& session, std::uint32_t handle) = 0;
  // The request waits no more, and gets no reply from here. False: it does not wait here.
  virtual bool abandon(Session& session, RequestId request) = 0;
  // The session has gone.
  virtual void closed(Session& session) = 0;

  // nullptr: absent.
  virtual const ObjectHead* find(const ObjectKey& key) const = 0;
  // Those behind `after`, in the order of their keys, until `row` returns false.
  virtual void visit(const ObjectKey& after, const std::function<bool(const ObjectHead&)>& row) const = 0;
  // The kind's own part of a row; `all`: as objectShow has it, users too.
  virtual void write(const ObjectHead& head, bool all, ipc::wire::ObjectRow::Builder row) const = 0;
  // Throws Error(refused) if it is in use, unless `force`.
  virtual void remove(Session& session, const ObjectHead& head, bool force) = 0;

  virtual std::size_t count() const = 0;
  virtual void fillStatus(ipc::wire::Status::Builder status) const = 0;
};

// Throws Error(unknownName) that names what the session may see and may have meant.
[[noreturn]] void throwUnknownName(const ObjectRequests& kind, const ObjectKey& key, const Session& session);
// The object of this name that the session may access. Throws as above: what one may not see is not there.
// Error(refused) for one that it may see but not use.
const ObjectHead& findObject(const ObjectRequests& kind, const ObjectKey& key, const Session& session,
                             Access access);
// Who, to be shown.
void writeParty(const Session& session, ipc::wire::Party::Builder party);

class ObjectDispatch {
 public:
  explicit ObjectDispatch(Subscriptions& subscriptions) : subscriptions_(subscriptions) {}
  // Before the first request. It must outlive this.
  void add(ObjectRequests& kind) { kinds_.push_back(&kind); }

  // False: a request about no object. Throws Error for the reply.
  bool handle(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  void closed(Session& session);
  // Objects of all kinds.
  std::size_t count() const;
  void fillStatus(ipc::wire::Status::Builder status) const;

 private:
  void list(Session& session, RequestId request, ipc::wire::ObjectListRequest::Reader asked);
  void show(Session& session, RequestId request, ipc::wire::ObjectRef::Reader ref);
  void remove(Session& session, RequestId request, ipc::wire::ObjectRemove::Reader asked);
  void closeHandle(Session& session, RequestId request, std::uint32_t handle);
  void abandon(Session& session, RequestId request, RequestId waiting);
  void ok(Session& session, RequestId request);
  ObjectRequests& of(ipc::wire::ObjectKind kind) const;

  Subscriptions& subscriptions_;
  std::vector<ObjectRequests*> kinds_;
};

}  // namespace baton::daemon
