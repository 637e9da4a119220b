#include "daemon/lock_requests.h"

#include <algorithm>
#include <climits>

#include "daemon/lock_rows.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

namespace wire = ipc::wire;
using Frame = wire::Frame;

// A grant that its client has not taken up while others wait: long beside a wake-up, short for who waits.
constexpr std::chrono::nanoseconds kTakeUp = std::chrono::milliseconds(10);
// A flock has no event; nobody computes meanwhile.
constexpr std::chrono::nanoseconds kOlderAgain = std::chrono::milliseconds(50);
// Acquires of one session that wait at once: more than any program has threads, few enough to walk.
constexpr std::size_t kMaxWaits = 10'000;
constexpr unsigned kMaxPermits = 1'000'000;
constexpr int kMaxPriority = 1000;

std::string_view view(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

Time deadlineOf(std::uint64_t timeoutNs) {
  const Time now = monotonicNow();
  const auto most = static_cast<std::uint64_t>((kForever - now).count());
  return timeoutNs >= most ? kForever : now + Time(static_cast<std::int64_t>(timeoutNs));
}

LockOptions optionsOf(wire::LockOptions::Reader asked) {
  if (static_cast<unsigned>(asked.getKind()) > static_cast<unsigned>(wire::LockKind::BARRIER)) {
    throw Error(Code::usage, "this daemon does not know that kind of lock");
  }
  const LockOptions options{.kind = static_cast<LockKind>(asked.getKind()),
                            .permits = asked.getPermits(),
                            .bounded = asked.getBounded(),
                            .counting = asked.getCounting(),
                            .handOff = asked.getHandOff(),
                            .refuseAbandoned = asked.getRefuseAbandoned()};
  const bool none = options.permits == 0 && !(options.kind == LockKind::semaphore && options.counting);
  const bool counts = options.kind == LockKind::semaphore || options.kind == LockKind::barrier;
  if (counts && (none || options.permits > kMaxPermits)) {
    throw Error(Code::usage, "permits, or parties of a barrier, are from 1 to 1,000,000");
  }
  return options;
}

LockMode modeOf(wire::LockMode mode) {
  return mode == wire::LockMode::SHARED ? LockMode::shared : LockMode::exclusive;
}

}  // namespace

LockRequests::LockRequests(const Parts& parts)
    : loop_(parts.loop),
      subscriptions_(parts.subscriptions),
      closer_(parts.closer),
      generations_(parts.stateDirectory) {
  deadlines_ = loop_.onTimer([this] {
    table_.expire(monotonicNow());
    settle();
  });
  untaken_ = loop_.onTimer([this] { expireGrants(); });
  older_ = loop_.onTimer([this] { lookAtOlder(); });
}

bool LockRequests::handle(Session& session, RequestId request, ipc::ReceivedFrame& received) {
  const Frame::Reader frame = received.get();
  switch (frame.which()) {
    case Frame::LOCK_OPEN:
      open(session, request, frame.getLockOpen());
      return true;
    case Frame::LOCK_PAGE:
      page(session, request);
      return true;
    case Frame::LOCK_ACQUIRE:
      acquire(session, request, received);
      return true;
    case Frame::LOCK_RELEASE:
      release(session, request, frame.getLockRelease());
      return true;
    case Frame::LOCK_RETURNED:
      returned(session, frame.getLockReturned());
      return true;
    case Frame::LOCK_BIND:
      bind(session, request, received);
      return true;
    case Frame::LOCK_CONTROL:
      control(session, request, frame.getLockControl());
      return true;
    case Frame::CONDITION_WAIT:
      conditionWait(session, request, frame.getConditionWait());
      return true;
    default:
      return false;
  }
}

// ---- opening ----

LockRequests::User& LockRequests::user(const Session& session) {
  User& user = users_[session.id];
  if (user.client == 0) {
    user.client = ++lastClient_;
    user.who = std::make_shared<const LockWho>(
        LockWho{.uid = session.uid, .pid = session.pid, .program = session.program, .task = session.inside});
  }
  return user;
}

const Lock* LockRequests::lockIfThere(const Session& session, std::uint32_t handle) const {
  const auto user = users_.find(session.id);
  const bool open = user != users_.end() && user->second.handles.contains(handle);
  if (!open) throw Error(Code::usage, "no open lock of handle " + std::to_string(handle));
  return table_.find(user->second.handles.at(handle));
}

const Lock& LockRequests::lockOf(const Session& session, std::uint32_t handle) const {
  const Lock* lock = lockIfThere(session, handle);
  if (lock == nullptr) throw Error(Code::removed, "the lock was removed");
  return *lock;
}

void LockRequests::open(Session& session, RequestId request, wire::LockOpen::Reader asked) {
  const ObjectKey key = resolveName(view(asked.getName()), session.uid);
  User& mine = user(session);
  const std::uint32_t handle = newHandle(session, mine.handles.size());
  const Lock* lock = table_.find(key);
  const bool created = lock == nullptr;
  if (created) {
    lock = &make(session, key, asked);
  } else {
    findObject(*this, key, session, Access::use);
    if (asked.getCreation().getExclusive()) {
      throw Error(Code::exists, "there is a lock " + spell(key, session.uid) + " already");
    }
    const auto kind = static_cast<LockKind>(asked.getOptions().getKind());
    if (!asked.getAnyKind() && kind != lock->options.kind) {
      throw Error(Code::wrongKind, spell(key, session.uid) + " is a lock of another kind: a " +
                                       std::string(nameOf(lock->options.kind)));
    }
  }
  mine.handles[handle] = lock->id;
  ++opens_[lock->id];
  if (asked.getKeep()) kept_.insert(lock->id);
  auto message = std::make_unique<ipc::Message>();
  auto reply = message->frame().initLockOpened();
  reply.setHandle(handle);
  writeOptions(lock->options, reply.initOptions());
  reply.setCreated(created);
  const std::string& path = generations_.path();
  reply.setGenerationPath(kj::arrayPtr(reinterpret_cast<const capnp::byte*>(path.data()), path.size()));
  subscriptions_.finish(session, request, std::move(message));
}

const Lock& LockRequests::make(Session& session, const ObjectKey& key, wire::LockOpen::Reader asked) {
  if (!asked.getCreation().getCreate()) throwUnknownName(*this, key, session);
  const ObjectHead head = newHead(key, asked.getCreation(), session);
  const LockOptions options = optionsOf(asked.getOptions());
  if (table_.count(session.uid) >= limit_) {
    throw Error(Code::quota,
                "you have " + std::to_string(limit_) + " locks, and no more are allowed (config locks)");
  }
  beginGeneration();
  return *table_.find(table_.create(head, options));
}

void LockRequests::page(Session& session, RequestId request) {
  const LockClient client = user(session).client;
  auto message = std::make_unique<ipc::Message>();
  message->attach(pages_.addPage(client));
  message->frame().initLockPageReply().setSlots(pages_.slots(client));
  subscriptions_.finish(session, request, std::move(message));
}

bool LockRequests::closeHandle(Session& session, std::uint32_t handle) {
  const auto found = users_.find(session.id);
  if (found == users_.end()) return false;
  User& user = found->second;
  const auto open = user.handles.find(handle);
  if (open == user.handles.end()) return false;
  const LockId lock = open->second;
  user.handles.erase(open);
  const bool last = std::none_of(user.handles.begin(), user.handles.end(),
                                 [&](const auto& other) { return other.second == lock; });
  if (last) table_.leave(lock, user.client, monotonicNow());
  if (--opens_[lock] == 0) opens_.erase(lock);
  settle();
  dropIfUnused(lock);
  return true;
}

void LockRequests::closed(Session& session) {
  const auto found = users_.find(session.id);
  if (found == users_.end()) return;
  const User user = std::move(found->second);
  users_.erase(found);
  const Time now = monotonicNow();
  for (const auto& [request, wait] : user.waits) {
    // What it wanted for a process nobody wants any more.
    table_.forget(wait, now);
    dropHolder(waiting_.at(wait).holder);
    waiting_.erase(wait);
  }
  table_.clientEnded(user.client, false, now);
  pages_.drop(user.client);
  keeperEnded(session.id);
  settle();
  for (const auto& [handle, lock] : user.handles) {
    if (--opens_[lock] == 0) opens_.erase(lock);
    dropIfUnused(lock);
  }
}

void LockRequests::dropIfUnused(LockId id) {
  const Lock* lock = table_.find(id);
  if (lock == nullptr || opens_.contains(id) || kept_.contains(id) || !LockTable::isAsNew(*lock)) return;
  table_.remove(id, monotonicNow());
  settle();
}

// ---- owning ----

LockWait LockRequests::beginWait(Session& session, RequestId request, LockClient holder) {
  User& mine = user(session);
  if (mine.waits.size() >= kMaxWaits) {
    throw Error(Code::quota, "this connection waits for 10,000 locks at once, and for no more");
  }
  subscriptions_.open(session, request, true);
  const LockWait wait = ++lastWait_;
  mine.waits[request] = wait;
  waiting_[wait] = {session.id, request, holder};
  return wait;
}

void LockRequests::acquire(Session& session, RequestId request, ipc::ReceivedFrame& frame) {
  const auto asked = frame.get().getLockAcquire();
  const Lock& lock = lockOf(session, asked.getLock());
  const LockOptions& options = lock.options;
  if (options.kind == LockKind::condition) {
    throw Error(Code::wrongKind, "a condition is waited for with a mutex");
  }
  const bool countable = options.kind == LockKind::semaphore;
  if (asked.getCount() == 0 || asked.getCount() > kMaxPermits ||
      (countable && (!options.counting || options.bounded) && asked.getCount() > options.permits)) {
    throw Error(Code::usage, "the semaphore has " + std::to_string(options.permits) +
                                 " permits in all; asked for " + std::to_string(asked.getCount()));
  }
  LockAcquire wanted{.party = {user(session).client, asked.getThread()}, .who = user(session).who};
  wanted.mode = options.kind == LockKind::rwlock ? modeOf(asked.getMode()) : LockMode::exclusive;
  wanted.count = countable ? asked.getCount() : 1;
  wanted.dontWait = asked.getTimeoutNs() == 0;
  wanted.deadline = wanted.dontWait ? kForever : deadlineOf(asked.getTimeoutNs());
  wanted.priority = std::clamp(asked.getPriority(), -kMaxPriority, kMaxPriority);
  wanted.slot = asked.getProcess() ? 0 : asked.getSlot();
  if (asked.getProcess()) {
    acquireForProcess(session, request, lock.id, std::move(wanted), frame);
    return;
  }
  wanted.wait = beginWait(session, request);
  table_.acquire(lock.id, wanted, monotonicNow());
  settle();
}

// The thread's own hold, else the only one of a process of this uid.
LockParty LockRequests::holdOf(const Session& session, const Lock& lock,
                               wire::LockRelease::Reader asked) const {
  const LockParty mine{users_.at(session.id).client, asked.getThread()};
  const LockHold* found = nullptr;
  // What an operator took is told to who releases it.
  for (const auto* holds : {&lock.holds, &lock.taken}) {
    for (const LockHold& hold : *holds) {
      if (hold.party == mine) return mine;
      const bool ofProcess = holders_.contains(hold.party.client) && hold.who->uid == session.uid;
      if (!ofProcess || (asked.getToken() != 0 && asked.getToken() != hold.token)) continue;
      if (found != nullptr) {
        throw Error(Code::usage, "several processes hold " + lock.head.key.name + "; say which by its token");
      }
      found = &hold;
    }
    if (found != nullptr) break;
  }
  return found == nullptr ? mine : found->party;
}

void LockRequests::release(Session& session, RequestId request, wire::LockRelease::Reader asked) {
  const Lock* lock = lockIfThere(session, asked.getLock());
  if (lock == nullptr) {
    // Whoever held it when it was removed did nothing wrong.
    ok(session, request);
    return;
  }
  LockHold what;
  what.mode = modeOf(asked.getMode());
  what.count = asked.getCount();
  what.token = asked.getToken();
  what.party = holdOf(session, *lock, asked);
  const std::string name = lock->head.key.name;
  const LockRelease result = table_.release(lock->id, what, monotonicNow());
  const bool holdsMore = std::any_of(lock->holds.begin(), lock->holds.end(), [&](const LockHold& hold) {
    return hold.party.client == what.party.client;
  });
  if (!holdsMore) dropHolder(what.party.client);
  settle();
  switch (result) {
    case LockRelease::done:
      ok(session, request);
      return;
    case LockRelease::notHeld:
      throw Error(Code::notHeld, name + " is not held by who releases it");
    case LockRelease::tooMany:
      throw Error(Code::notHeld, "more permits of " + name + " released than acquired");
    case LockRelease::broken:
      throw Error(Code::broken, name + " was taken away by an operator before it was released");
  }
}

void LockRequests::returned(Session& session, wire::LockReturned::Reader asked) {
  const auto user = users_.find(session.id);
  if (user == users_.end()) return;
  const LockId lock = pages_.takeReturned(user->second.client, asked.getSlot());
  if (lock == 0) return;
  table_.returned(lock, user->second.client, monotonicNow());
  settle();
}

void LockRequests::conditionWait(Session& session, RequestId request, wire::ConditionWait::Reader asked) {
  const Lock& condition = lockOf(session, asked.getCondition());
  const Lock& mutex = lockOf(session, asked.getMutex());
  const LockKind kind = mutex.options.kind;
  if (condition.options.kind != LockKind::condition || (kind != LockKind::mutex && kind != LockKind::rlock)) {
    throw Error(Code::wrongKind, "a condition is waited for with a mutex or an rlock");
  }
  LockAcquire wanted{.party = {user(session).client, asked.getThread()}, .who = user(session).who};
  wanted.deadline = deadlineOf(asked.getTimeoutNs());
  wanted.wait = beginWait(session, request);
  if (!table_.wait(condition.id, mutex.id, wanted, monotonicNow())) {
    deliver(LockRefusal{condition.id, wanted.wait, Code::notHeld,
                        "who waits for a condition must hold its mutex"});
  }
  settle();
}

void LockRequests::control(Session& session, RequestId request, wire::LockControl::Reader asked) {
  using Action = wire::LockControl::Action;
  const Time now = monotonicNow();
  if (asked.getAction() == Action::IGNORE_OLDER) {
    generations_.forgetOlder();
    lookAtOlder();
    ok(session, request);
    return;
  }
  const Lock& lock = lockOf(session, asked.getLock());
  const LockId id = lock.id;
  const LockKind kind = lock.options.kind;
  switch (asked.getAction()) {
    case Action::SET:
      if (kind != LockKind::event) throw Error(Code::wrongKind, "only an event can be set");
      table_.set(id, true, now);
      break;
    case Action::CLEAR:
      if (kind == LockKind::event) table_.set(id, false, now);
      table_.clear(id, now);
      break;
    case Action::NOTIFY:
      if (kind != LockKind::condition) throw Error(Code::wrongKind, "only a condition can be notified");
      table_.notify(id, asked.getCount(), now);
      break;
    case Action::BREAK: {
      const ObjectHead& head = lock.head;
      if (session.uid != head.key.uid && session.uid != 0) {
        throw Error(Code::refused, "only its owner may break " + spell(head.key, session.uid));
      }
      table_.breakLock(id, now);
      break;
    }
    case Action::RESET:
      if (kind != LockKind::barrier) throw Error(Code::wrongKind, "only a barrier can be reset");
      table_.reset(id, now);
      break;
    default:
      throw Error(Code::usage, "this daemon does not know what to do with the lock");
  }
  settle();
  ok(session, request);
}

bool LockRequests::abandon(Session& session, RequestId request) {
  const auto found = users_.find(session.id);
  if (found == users_.end()) return false;
  const auto wait = found->second.waits.find(request);
  if (wait == found->second.waits.end()) return false;
  const LockWait number = wait->second;
  found->second.waits.erase(wait);
  table_.forget(number, monotonicNow());
  dropHolder(waiting_.at(number).holder);
  waiting_.erase(number);
  settle();
  return true;
}

// ---- outcomes ----

void LockRequests::settle() {
  while (auto outcome = table_.next()) deliver(*outcome);
  if (const auto deadline = table_.nextDeadline()) {
    deadlines_.arm(std::max(*deadline - monotonicNow(), Time(0)));
  } else {
    deadlines_.disarm();
  }
  if (pages_.hasUntaken()) untaken_.arm(kTakeUp);
}

void LockRequests::expireGrants() {
  for (const auto& [lock, client] : pages_.takeUntaken()) {
    if (pages_.takeBackGrant(lock, client)) table_.grantExpired(lock, client, monotonicNow());
  }
  settle();
}

void LockRequests::deliver(const LockOutcome& outcome) {
  const LockWait wait = std::visit([](const auto& known) { return known.wait; }, outcome);
  const auto found = waiting_.find(wait);
  if (found == waiting_.end()) return;
  const Waiting waiting = found->second;
  waiting_.erase(found);
  users_.at(waiting.session).waits.erase(waiting.request);
  const auto* refusal = std::get_if<LockRefusal>(&outcome);
  if (refusal != nullptr) dropHolder(waiting.holder);
  Session* session = server_->find(waiting.session);
  if (session == nullptr) return;
  auto message = std::make_unique<ipc::Message>();
  if (refusal != nullptr) {
    writeError(Error(refusal->code, refusal->text), waiting.request, *message);
  } else {
    writeGrant(std::get<LockGrant>(outcome), monotonicNow(), message->frame().initLockGranted());
  }
  subscriptions_.finish(*session, waiting.request, std::move(message));
}

void LockRequests::ok(Session& session, RequestId request) {
  auto message = std::make_unique<ipc::Message>();
  message->frame().setOk();
  subscriptions_.finish(session, request, std::move(message));
}

// ---- older daemons ----

void LockRequests::beginGeneration() {
  if (generations_.number() != 0) return;
  generations_.begin();
  // A generation's tokens: more than any daemon grants in its life, few enough for all generations.
  table_.setLastToken(generations_.number() << 40);
  lookAtOlder();
}

void LockRequests::lookAtOlder() {
  const bool free = generations_.older();
  table_.setBlocked(!free, monotonicNow());
  if (!free) older_.arm(kOlderAgain);
  settle();
}

// ---- as objects ----

const ObjectHead* LockRequests::find(const ObjectKey& key) const {
  const Lock* lock = table_.find(key);
  return lock == nullptr ? nullptr : &lock->head;
}

void LockRequests::visit(const ObjectKey& after, const std::function<bool(const ObjectHead&)>& row) const {
  table_.visit(after, [&](const Lock& lock) { return row(lock.head); });
}

void LockRequests::remove(Session& session, const ObjectHead& head, bool force) {
  const Lock& lock = *table_.find(head.key);
  if (!force && (!lock.holds.empty() || !lock.waiters.empty())) {
    throw Error(Code::refused,
                spell(head.key, session.uid) + " is held or waited for; `rm --force` removes it");
  }
  kept_.erase(lock.id);
  table_.remove(lock.id, monotonicNow());
  settle();
}

}  // namespace baton::daemon
