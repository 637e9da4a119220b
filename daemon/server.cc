#include "daemon/server.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace baton::daemon {
namespace {

constexpr int kAcceptsPerTurn = 16;
// Of one session, so that one that asks for much holds up nobody; a single request takes less.
constexpr int kFramesPerTurn = 16;
constexpr std::chrono::nanoseconds kMostPerTurn = std::chrono::microseconds(500);
// When descriptors run out: somebody else may free some.
constexpr std::chrono::nanoseconds kAcceptRetry = std::chrono::milliseconds(100);
// Half of what stops the reading: no flapping.
constexpr std::size_t kDrainedBytes = kMaxUnsentBytes / 2;

// Those of the process that connected, its own first.
std::vector<Gid> groupsOf(int socket, Gid own) {
  // More than that (Linux allows 65,536) is nobody's list of groups; the own one is enough then.
  std::array<Gid, 256> groups{};
  socklen_t bytes = sizeof(groups);
  std::vector<Gid> all{own};
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
    all.insert(all.end(), groups.begin(), groups.begin() + bytes / sizeof(Gid));
  }
  return all;
}

}  // namespace

void writeError(const Error& error, RequestId request, ipc::Message& message) {
  message.frame().setId(request);
  auto reply = message.frame().initError();
  reply.setCode(static_cast<std::uint16_t>(error.code()));
  reply.setText(error.what());
}

Server::Server(Loop& loop, RequestHandler& handler, Closer& closer, ServerOptions options)
    : loop_(loop), handler_(handler), closer_(closer), options_(std::move(options)) {
  acceptAgain_ = loop_.onTimer([this] {
    if (listenSource_) listenSource_.setEvents(EPOLLIN);
  });
  readAgain_ = loop_.onTurn([this] {
    for (const SessionId id : std::exchange(again_, {})) readable(id, true);
  });
  hearAgain_ = loop_.onTimer([this] { hearAgain(); });
  slowTimer_ = loop_.onTimer([this] { closeSlow(); });
}

Server::~Server() = default;

void Server::listen(shm::Fd socket) {
  listenSource_.reset();
  listener_ = std::move(socket);
  const int flags = ::fcntl(listener_.get(), F_GETFL);
  ::fcntl(listener_.get(), F_SETFL, flags | O_NONBLOCK);
  listenSource_ = loop_.onIo(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
}

void Server::accept() {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    shm::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      admit(std::move(socket));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EAGAIN) {
      listenSource_.setEvents(0);
      acceptAgain_.arm(kAcceptRetry);
    }
    return;
  }
}

void Server::admit(shm::Fd socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return;
  auto session = std::make_unique<Session>();
  session->id = ++lastId_;
  session->uid = peer.uid;
  session->pid = peer.pid;
  session->groups = groupsOf(socket.get(), peer.gid);
  session->movedAt = monotonicNow();
  session->budget = user(peer.uid).budget;
  session->waits = user(peer.uid).waits;
  session->descriptors = user(peer.uid).descriptors;
  session->unsent = ipc::Charge(session->budget);
  const ServerLimits& limits = options_.limits;
  session->connection = std::make_unique<ipc::Connection>(
      std::move(socket), ipc::Intake{limits.frameBytes, limits.frameFds, session->budget});
  Session& made = *session;
  sessions_[made.id] = std::move(session);
  const std::size_t count = ++user(made.uid).connections;
  if (!options_.admits(made.uid) || count > limits.connections) {
    const bool full = options_.admits(made.uid);
    ipc::Message message;
    writeError(full ? Error(Code::quota, "too many connections of yours: at most " +
                                             std::to_string(limits.connections) + " (config connections)")
                    : Error(Code::refused, "this daemon serves another user"),
               0, message);
    made.closing = true;
    send(made, message);
  }
  made.source =
      loop_.onIo(made.connection->fd(), made.closing ? 0U : std::uint32_t{EPOLLIN},
                 [this, id = made.id](std::uint32_t events) {
                   Session* known = find(id);
                   if ((events & EPOLLOUT) != 0 && known != nullptr) soil(*known);
                   if (known != nullptr && known->starved) {
                     if ((events & (EPOLLHUP | EPOLLERR)) != 0) close(id);
                     return;
                   }
                   // Nothing is written to its socket that would tell.
                   if ((events & (EPOLLHUP | EPOLLERR)) != 0 && known != nullptr && known->stalled) {
                     close(id);
                     return;
                   }
                   if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable(id, true);
                 });
}

Session* Server::find(SessionId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

void Server::forEach(const std::function<void(Session&)>& visit) {
  for (auto& [id, session] : sessions_) visit(*session);
}

void Server::readable(SessionId id, bool fromSocket) {
  const auto end = monotonicNow() + kMostPerTurn;
  bool empty = !fromSocket;  // the socket had no more than what was read
  if (Session* session = find(id)) toArm(*session);
  try {
    for (int frames = 0; frames < kFramesPerTurn && monotonicNow() < end;) {
      Session* session = find(id);
      if (session == nullptr || session->closing) {
        if (session != nullptr && session->dirty == false) close(id);
        return;
      }
      if (session->starved || session->busy) return;
      if (session->connection->unsentBytes() > kMaxUnsentBytes) {
        session->stalled = true;
        return;
      }
      if (auto frame = session->connection->next()) {
        ++frames;
        serve(*session, *frame);
        continue;
      }
      if (session->connection->rings() != nullptr) {
        watchEarly(*session);
        if (!session->connection->admit()) {
          starve(*session);
          return;
        }
        if (empty && session->connection->unsentBytes() > 0) soil(*session);
      }
      if (empty) return;
      const auto input = session->connection->receive();
      if (input == ipc::Connection::Input::noRoom) {
        starve(*session);
        return;
      }
      session->movedAt = monotonicNow();
      empty = input == ipc::Connection::Input::wouldBlock;
      if (input == ipc::Connection::Input::closed) {
        while (auto frame = session->connection->next()) {
          serve(*session, *frame);
          session = find(id);
          if (session == nullptr || session->busy) return;
        }
        ended(*session);
        return;
      }
    }
    // Frames may be left that the socket does not tell of.
    if (Session* session = find(id)) serveAgain(*session);
  } catch (const Error&) {
    fault(id);
  } catch (const kj::Exception&) {
    fault(id);
  }
}

void Server::fault(SessionId id) {
  ++badFrames_;
  close(id);
}

void Server::pause(Session& session) {
  session.busy = true;
  watch(session, session.connection->socketUnsent());
}

void Server::resume(Session& session) {
  session.busy = false;
  watch(session, session.connection->socketUnsent());
  again_.push_back(session.id);
  readAgain_.enable(true);
}

void Server::serve(Session& session, ipc::ReceivedFrame& frame) {
  const auto closeLeft = [&] {
    for (auto& fd : frame.fds) closer_.close(std::move(fd));
  };
  ++framesServed_;
  try {
    if (!frame.fds.empty() && closer_.stuck()) {
      ipc::Message message;
      writeError(
          Error(Code::refused,
                "no more descriptors are taken: one that was passed before cannot be closed (a file system "
                "that hangs?)"),
          frame.get().getId(), message);
      send(session, message);
    } else if (!session.greeted || !serveRings(session, frame.get())) {
      handler_.handle(session, frame);
    }
  } catch (...) {
    closeLeft();
    throw;
  }
  closeLeft();
}

void Server::serveAgain(Session& session) {
  again_.push_back(session.id);
  readAgain_.enable(true);
}

void Server::send(Session& session, ipc::Message& message) {
  session.connection->send(message);
  account(session);
  soil(session);
}

void Server::soil(Session& session) {
  if (session.dirty) return;
  session.dirty = true;
  dirty_.push_back(session.id);
}

void Server::watch(Session& session, bool unsent) {
  if (!session.source) return;
  const bool read = !session.closing && !session.starved && !session.busy &&
                    session.connection->unsentBytes() <= kMaxUnsentBytes;
  session.source.setEvents((read ? std::uint32_t{EPOLLIN} : 0U) | (unsent ? std::uint32_t{EPOLLOUT} : 0U));
}

void Server::flush() {
  // Serving what a drained client waited for may queue more.
  for (int round = 0; round < 4 && !dirty_.empty(); ++round) {
    for (const SessionId id : std::exchange(dirty_, {})) {
      Session* session = find(id);
      if (session == nullptr) continue;
      session->dirty = false;
      try {
        const std::size_t before = session->connection->unsentBytes();
        const bool all = session->connection->flush();
        if (session->connection->unsentBytes() < before) session->movedAt = monotonicNow();
        account(*session);
        if (all && session->closing) {
          close(id);
          continue;
        }
        watch(*session, session->connection->socketUnsent());
        if (session->connection->unsentBytes() <= kDrainedBytes) drained(*session);
      } catch (const Error& error) {
        if (error.code() == Code::protocol) ++badFrames_;
        close(id);
      }
    }
  }
  shedUnread();
  feedStarved();
  watchSlow();
  arm();
}

void Server::drained(Session& session) {
  if (session.stalled) {
    session.stalled = false;
    serveAgain(session);
  }
  handler_.drained(session);
}

void Server::ended(Session& session) {
  if (session.connection->partial()) ++badFrames_;
  try {
    // It may have closed its own side only, and read what it asked for.
    session.connection->flush();
  } catch (const Error&) {
    // It has not.
  }
  close(session.id);
}

void Server::close(SessionId id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const std::unique_ptr<Session> session = std::move(found->second);
  sessions_.erase(found);
  leave(session->uid);
  session->source.reset();
  session->bell.reset();
  for (auto& fd : session->connection->takeUnclaimed()) closer_.close(std::move(fd));
  // What it has sent and nobody has read may have descriptors too.
  if (!session->connection->readToEnd()) closer_.close(session->connection->takeSocket());
  handler_.closed(*session);
}

}  // namespace baton::daemon
