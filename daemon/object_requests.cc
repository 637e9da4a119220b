#include "daemon/object_requests.h"

#include <algorithm>
#include <limits>

namespace baton::daemon {
namespace {

namespace wire = ipc::wire;

// A row without users takes some 600 bytes at most: a page fits a frame.
constexpr std::uint32_t kMaxRows = 1000;
// Far more than anybody opens at once; ten thousand queues or locks can be made through one connection.
constexpr std::size_t kMaxHandles = 20'000;
// Names that an error may suggest: comparing them is work that a mistyped name causes.
constexpr std::size_t kMaxCandidates = 250;

std::string_view view(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

void writeHead(const ObjectHead& head, wire::ObjectRow::Builder row) {
  row.setName(head.key.name);
  row.setUid(head.key.uid);
  row.setMode(head.mode);
  row.setCreatedNs(head.createdNs);
}

}  // namespace

bool mayAccess(const ObjectHead& head, const Session& session, Access access) {
  if (session.uid == 0) return true;
  unsigned shift = 0;
  if (session.uid == head.key.uid) {
    shift = 6;
  } else if (std::find(session.groups.begin(), session.groups.end(), head.group) != session.groups.end()) {
    shift = 3;
  }
  return (static_cast<unsigned>(head.mode) >> shift & static_cast<unsigned>(access)) != 0;
}

ObjectHead newHead(const ObjectKey& key, wire::Creation::Reader creation, const Session& session) {
  constexpr unsigned kModeBits = 0777;
  if (key.uid != session.uid) {
    throw Error(Code::refused,
                "one cannot make an object in another user's name: " + spell(key, session.uid));
  }
  if ((creation.getMode() & ~kModeBits) != 0) {
    throw Error(Code::usage, "a mode has the bits of 0777 and no others");
  }
  return {key, session.groups.empty() ? Gid{0} : session.groups.front(), creation.getMode(), calendarNowNs()};
}

std::uint32_t newHandle(Session& session, std::size_t open) {
  if (open >= kMaxHandles) {
    throw Error(Code::quota, "this connection has " + std::to_string(open) + " of them open already");
  }
  if (session.lastHandle == std::numeric_limits<std::uint32_t>::max()) {
    throw Error(Code::quota, "this connection has opened all the handles there are; open another connection");
  }
  return ++session.lastHandle;
}

void throwUnknownName(const ObjectRequests& kind, const ObjectKey& key, const Session& session) {
  std::vector<std::string> names;
  kind.visit({}, [&](const ObjectHead& head) {
    if (mayAccess(head, session, Access::look)) names.push_back(spell(head.key, session.uid));
    return names.size() < kMaxCandidates;
  });
  const std::vector<std::string_view> views(names.begin(), names.end());
  throw Error(Code::unknownName, unknownName(kind.kindName(), spell(key, session.uid), views));
}

const ObjectHead& findObject(const ObjectRequests& kind, const ObjectKey& key, const Session& session,
                             Access access) {
  const ObjectHead* head = kind.find(key);
  if (head == nullptr ||
      !(mayAccess(*head, session, Access::look) || mayAccess(*head, session, Access::use))) {
    throwUnknownName(kind, key, session);
  }
  if (!mayAccess(*head, session, access)) {
    throw Error(Code::refused, std::string(kind.kindName()) + " " + spell(key, session.uid) +
                                   (access == Access::use ? " may be looked at, but not used, by you"
                                                          : " may be used, but not looked at, by you"));
  }
  return *head;
}

void writeParty(const Session& session, wire::Party::Builder party) {
  party.setUid(session.uid);
  party.setPid(session.pid);
  party.setProgram(session.program);
  party.setTask(session.inside);
}

bool ObjectDispatch::handle(Session& session, RequestId request, ipc::ReceivedFrame& received) {
  const wire::Frame::Reader frame = received.get();
  switch (frame.which()) {
    case wire::Frame::OBJECT_LIST:
      list(session, request, frame.getObjectList());
      return true;
    case wire::Frame::OBJECT_SHOW:
      show(session, request, frame.getObjectShow());
      return true;
    case wire::Frame::OBJECT_REMOVE:
      remove(session, request, frame.getObjectRemove());
      return true;
    case wire::Frame::CLOSE_HANDLE:
      closeHandle(session, request, frame.getCloseHandle());
      return true;
    case wire::Frame::ABANDON_REQUEST:
      abandon(session, request, frame.getAbandonRequest());
      return true;
    default:
      return std::any_of(kinds_.begin(), kinds_.end(),
                         [&](ObjectRequests* kind) { return kind->handle(session, request, received); });
  }
}

void ObjectDispatch::closed(Session& session) {
  for (ObjectRequests* kind : kinds_) kind->closed(session);
}

void ObjectDispatch::fillStatus(wire::Status::Builder status) const {
  for (const ObjectRequests* kind : kinds_) kind->fillStatus(status);
}

std::size_t ObjectDispatch::count() const {
  std::size_t sum = 0;
  for (const ObjectRequests* kind : kinds_) sum += kind->count();
  return sum;
}

ObjectRequests& ObjectDispatch::of(wire::ObjectKind kind) const {
  const auto found = std::find_if(kinds_.begin(), kinds_.end(),
                                  [&](const ObjectRequests* known) { return known->kind() == kind; });
  if (found == kinds_.end()) throw Error(Code::usage, "this daemon does not know that kind of object");
  return **found;
}

void ObjectDispatch::ok(Session& session, RequestId request) {
  auto message = std::make_unique<ipc::Message>();
  message->frame().setOk();
  subscriptions_.finish(session, request, std::move(message));
}

void ObjectDispatch::list(Session& session, RequestId request, wire::ObjectListRequest::Reader asked) {
  const ObjectRequests& kind = of(asked.getKind());
  const std::uint32_t limit = std::clamp<std::uint32_t>(asked.getLimit(), 1, kMaxRows);
  const ObjectKey after =
      asked.getAfter().size() == 0 ? ObjectKey{} : resolveName(view(asked.getAfter()), session.uid);
  std::vector<const ObjectHead*> rows;
  bool more = false;
  kind.visit(after, [&](const ObjectHead& head) {
    if (!mayAccess(head, session, Access::look)) return true;
    more = rows.size() == limit;
    if (!more) rows.push_back(&head);
    return !more;
  });
  auto message = std::make_unique<ipc::Message>();
  auto listing = message->frame().initObjects();
  auto built = listing.initRows(static_cast<unsigned>(rows.size()));
  for (unsigned i = 0; i < built.size(); ++i) {
    writeHead(*rows[i], built[i]);
    kind.write(*rows[i], false, built[i]);
  }
  if (more) listing.setNext(spell(rows.back()->key, session.uid));
  subscriptions_.finish(session, request, std::move(message));
}

void ObjectDispatch::show(Session& session, RequestId request, wire::ObjectRef::Reader ref) {
  const ObjectRequests& kind = of(ref.getKind());
  const ObjectHead& head =
      findObject(kind, resolveName(view(ref.getName()), session.uid), session, Access::look);
  auto message = std::make_unique<ipc::Message>();
  auto row = message->frame().initObjects().initRows(1)[0];
  writeHead(head, row);
  kind.write(head, true, row);
  subscriptions_.finish(session, request, std::move(message));
}

void ObjectDispatch::remove(Session& session, RequestId request, wire::ObjectRemove::Reader asked) {
  ObjectRequests& kind = of(asked.getKind());
  const ObjectHead& head =
      findObject(kind, resolveName(view(asked.getName()), session.uid), session, Access::look);
  if (session.uid != head.key.uid && session.uid != 0) {
    throw Error(Code::refused, "only the owner may remove " + spell(head.key, session.uid));
  }
  kind.remove(session, head, asked.getForce());
  ok(session, request);
}

void ObjectDispatch::closeHandle(Session& session, RequestId request, std::uint32_t handle) {
  const bool closed = std::any_of(kinds_.begin(), kinds_.end(),
                                  [&](ObjectRequests* kind) { return kind->closeHandle(session, handle); });
  if (!closed) throw Error(Code::usage, "no open handle " + std::to_string(handle));
  ok(session, request);
}

void ObjectDispatch::abandon(Session& session, RequestId request, RequestId waiting) {
  const bool waited = std::any_of(kinds_.begin(), kinds_.end(),
                                  [&](ObjectRequests* kind) { return kind->abandon(session, waiting); });
  if (waited) {
    auto message = std::make_unique<ipc::Message>();
    writeError(Error(Code::cancelled, "the request was abandoned"), waiting, *message);
    subscriptions_.finish(session, waiting, std::move(message));
  }
  ok(session, request);
}

}  // namespace baton::daemon
