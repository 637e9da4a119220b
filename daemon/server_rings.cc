// The Server's part about rings: the agreement on them, their bells, and when to sleep.
#include <sys/epoll.h>

#include <system_error>

#include "daemon/server.h"
#include "shm/memfd.h"

namespace baton::daemon {
namespace {

constexpr std::uint32_t kBell = std::uint32_t{EPOLLIN} | std::uint32_t{EPOLLET};
// Rings of a bell behind which there was nothing, within the time: an honest client gives room back a few
// times.
constexpr unsigned kMostIdleRings = 64;
constexpr std::chrono::nanoseconds kDeafFor = std::chrono::milliseconds(10);

}  // namespace

std::size_t Server::ringBytes() const {
  std::size_t bytes = 0;
  for (const auto& [uid, user] : users_) bytes += user.rings->used();
  return bytes;
}

bool Server::serveRings(Session& session, ipc::wire::Frame::Reader frame) {
  if (frame.isRingsInUse()) {
    // The order of frames says all that is to be known.
    if (session.connection->rings() == nullptr) throw Error(Code::protocol, "rings that nobody gave");
    return true;
  }
  if (!frame.isUseRings()) return false;
  ipc::Message message;
  try {
    giveRings(session, frame);
  } catch (const Error& error) {
    writeError(error, frame.getId(), message);
    send(session, message);
  } catch (const std::system_error& error) {
    writeError(Error(Code::system, std::string("no rings: ") + error.what()), frame.getId(), message);
    send(session, message);
  }
  return true;
}

void Server::giveRings(Session& session, ipc::wire::Frame::Reader frame) {
  if (session.connection->rings() != nullptr)
    throw Error(Code::exists, "this connection has its rings already");
  const auto asked = frame.getUseRings();
  shm::DuplexSizes sizes;
  sizes.toSecondBytes = ipc::connectionRingBytes(asked.getFromDaemonBytes());
  sizes.toFirstBytes = ipc::connectionRingBytes(asked.getToDaemonBytes());
  ipc::Charge charge(user(session.uid).rings);
  if (!charge.tryRaise(sizes.totalBytes())) {
    throw Error(Code::quota,
                "your connections have all the memory for rings that they may have (config ring_bytes)");
  }
  shm::Fd memory = shm::createMemory(sizes.totalBytes());
  shm::Mapping mapping(memory.get(), sizes.totalBytes(), shm::Access::readWrite);
  auto event = shm::Doorbell::makeEvent();
  auto [ours, theirs] = shm::Doorbell::makePair();
  ipc::Message message;
  message.frame().setId(frame.getId());
  auto reply = message.frame().initRingsReply();
  reply.setToDaemonBytes(static_cast<std::uint32_t>(sizes.toFirstBytes));
  reply.setFromDaemonBytes(static_cast<std::uint32_t>(sizes.toSecondBytes));
  message.attach(std::move(memory));
  message.attach(event.duplicate());
  message.attach(theirs.release());
  auto rings = std::make_unique<ipc::RingChannel>(
      ipc::RingChannel::Ends{std::move(mapping), sizes, shm::Side::first, std::move(event), std::move(ours)},
      options_.limits.frameBytes, session.budget);
  session.bell = loop_.onIo(rings->bellFd(), kBell, [this, id = session.id](std::uint32_t) {
    if (Session* known = find(id)) rung(*known);
  });
  send(session, message);
  session.connection->useRings(std::move(rings));
  session.ringBytes = std::move(charge);
  toArm(session);
}

void Server::rung(Session& session) {
  if (session.deaf) return;
  const SessionId id = session.id;
  const std::uint64_t before = framesServed_;
  readable(id, false);
  Session* known = find(id);
  if (known == nullptr || framesServed_ != before || known->connection->unsentBytes() > 0) return;
  const auto now = monotonicNow();
  if (known->idleRingsSince + kDeafFor < now) {
    known->idleRingsSince = now;
    known->idleRings = 0;
  }
  if (++known->idleRings < kMostIdleRings) return;
  known->deaf = true;
  known->bell.setEvents(0);
  deaf_.push_back(id);
  if (deaf_.size() == 1) hearAgain_.arm(kDeafFor);
}

void Server::hearAgain() {
  for (const SessionId id : std::exchange(deaf_, {})) {
    Session* session = find(id);
    if (session == nullptr) continue;
    session->deaf = false;
    session->bell.setEvents(kBell);
    readable(id, false);
  }
}

void Server::toArm(Session& session) {
  if (session.toArm || session.connection->rings() == nullptr) return;
  session.toArm = true;
  toArm_.push_back(session.id);
}

void Server::arm() {
  for (const SessionId id : std::exchange(toArm_, {})) {
    Session* session = find(id);
    if (session == nullptr) continue;
    session->toArm = false;
    try {
      session->connection->rings()->arm();
      const bool writable = session->connection->rings()->writable();
      if (writable) soil(*session);
      // Whoever is not read from now is looked at again when that is over.
      const bool read = !session->starved && !session->busy && !session->stalled && !session->deaf;
      if (writable || (read && session->connection->ringsReadable())) serveAgain(*session);
    } catch (const Error&) {
      fault(id);
    }
  }
}

}  // namespace baton::daemon
