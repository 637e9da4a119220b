// The Server's part about bytes in flight.
#include <algorithm>
#include <set>

#include "daemon/server.h"

namespace baton::daemon {
namespace {

// How often, and after how long without a byte: long for any program that runs, short for one that waits.
constexpr std::chrono::nanoseconds kLookForSlow = std::chrono::seconds(1);
constexpr std::chrono::nanoseconds kSlowAfter = std::chrono::seconds(5);

}  // namespace

Server::User& Server::user(Uid uid) {
  User& user = users_[uid];
  if (!user.budget) {
    user.budget = std::make_shared<ipc::Budget>(options_.limits.inFlightBytes);
    user.waits = std::make_shared<ipc::Budget>(options_.limits.inFlightBytes);
    user.descriptors = std::make_shared<ipc::Budget>(options_.limits.descriptors);
    user.rings = std::make_shared<ipc::Budget>(options_.limits.ringBytes);
  }
  return user;
}

void Server::setLimits(const ServerLimits& limits) {
  options_.limits = limits;
  for (auto& [uid, user] : users_) {
    user.budget->setLimit(limits.inFlightBytes);
    user.waits->setLimit(limits.inFlightBytes);
    user.descriptors->setLimit(limits.descriptors);
    user.rings->setLimit(limits.ringBytes);
  }
}

std::size_t Server::inFlightBytes() const {
  std::size_t bytes = 0;
  for (const auto& [uid, user] : users_) bytes += user.budget->used() + user.waits->used();
  return bytes;
}

void Server::leave(Uid uid) {
  const auto found = users_.find(uid);
  --found->second.connections;
  // Tasks that were left behind may still have parcels.
  std::erase_if(users_, [](const auto& entry) {
    const User& user = entry.second;
    return user.connections == 0 && user.budget->used() == 0 && user.descriptors->used() == 0;
  });
}

void Server::account(Session& session) {
  const std::size_t unsent = session.connection->unsentBytes();
  session.unsent.set(unsent > ipc::kUnchargedBytes ? unsent : 0);
}

void Server::starve(Session& session) {
  session.starved = true;
  watch(session, session.connection->socketUnsent());
  starved_.push_back(session.id);
}

void Server::feedStarved() {
  std::set<Uid> full;
  std::erase_if(starved_, [&](SessionId id) {
    Session* session = find(id);
    if (session == nullptr || session->closing) return true;
    if (full.contains(session->uid)) return false;
    if (!session->connection->admit()) {
      full.insert(session->uid);
      return false;
    }
    session->starved = false;
    watch(*session, session->connection->socketUnsent());
    serveAgain(*session);
    return true;
  });
}

bool Server::isFull(Uid uid) {
  return user(uid).budget->over() || std::any_of(starved_.begin(), starved_.end(), [&](SessionId id) {
           const Session* session = find(id);
           return session != nullptr && session->uid == uid;
         });
}

void Server::watchSlow() {
  const auto over = [](const auto& entry) { return entry.second.budget->over(); };
  if (slowWatched_ || (starved_.empty() && std::none_of(users_.begin(), users_.end(), over))) return;
  slowWatched_ = true;
  slowTimer_.arm(kLookForSlow);
}

void Server::closeSlow() {
  slowWatched_ = false;
  std::vector<SessionId> slow;
  const auto deadline = monotonicNow() - kSlowAfter;
  for (const auto& [id, session] : sessions_) {
    const bool holds = session->connection->chargedBytes() + session->unsent.bytes() > 0;
    if (holds && session->movedAt < deadline && isFull(session->uid)) slow.push_back(id);
  }
  for (const SessionId id : slow) closeSlow(*find(id));
  closeEarly();
}

void Server::watchEarly(Session& session) {
  const bool early = session.connection->early();
  if (early == (session.earlySince.count() != 0)) return;
  session.earlySince = early ? monotonicNow() : std::chrono::nanoseconds{0};
  if (!early || slowWatched_) return;
  slowWatched_ = true;
  slowTimer_.arm(kLookForSlow);
}

void Server::closeEarly() {
  std::vector<SessionId> late;
  const auto deadline = monotonicNow() - kSlowAfter;
  for (const auto& [id, session] : sessions_) {
    if (session->earlySince.count() == 0) continue;
    slowWatched_ = true;
    if (session->earlySince < deadline) late.push_back(id);
  }
  for (const SessionId id : late) fault(id);
  if (slowWatched_) slowTimer_.arm(kLookForSlow);
}

void Server::closeSlow(Session& session) {
  ipc::Message message;
  writeError(Error(Code::quota,
                   "this connection held its bytes in flight for too long while others of yours had no room "
                   "(config in_flight_bytes)"),
             0, message);
  session.connection->send(message);
  try {
    session.connection->flush();
  } catch (const Error&) {
    // It has gone already.
  }
  ++slowClosed_;
  close(session.id);
}

void Server::shedUnread() {
  const auto farOver = [](const User& user) { return user.budget->used() / 2 > user.budget->limit(); };
  while (
      std::any_of(users_.begin(), users_.end(), [&](const auto& entry) { return farOver(entry.second); })) {
    Session* slowest = nullptr;
    for (auto& [id, session] : sessions_) {
      if (session->unsent.bytes() == 0 || !farOver(user(session->uid))) continue;
      if (slowest == nullptr || session->movedAt < slowest->movedAt) slowest = session.get();
    }
    if (slowest == nullptr) return;
    closeSlow(*slowest);
  }
}

}  // namespace baton::daemon
