// The listening socket and its sessions: frames in, frames out, nothing of their meaning.
//
// A session that breaks the protocol is closed and counted; nobody else notices. Nothing here waits: a client
// that does not read is not read from.
//
// Bytes in flight: a large frame is charged to its uid before it is taken in, and what a client has not read
// is charged too. A session whose frame finds no room is starved: not read from until there is some. Answers
// are never held back, and may pass the limit for a while. While a uid is full, a session of it that holds
// bytes and has not moved for a while is closed; at twice the limit the one that has not moved for longest
// is, at once. Small requests go through at all times.
#pragma once

#include <functional>
#include <map>

#include "daemon/closer.h"
#include "daemon/session.h"
#include "ipc/error.h"

namespace baton::daemon {

// What a session's frames mean.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // A frame from the client. Throws Error or kj::Exception for what no client may send: the session is
  // closed.
  virtual void handle(Session& session, ipc::ReceivedFrame& frame) = 0;
  // It has gone, or goes now. Nothing may be sent to it any more.
  virtual void closed(Session& session) = 0;
  // It has taken most of what was sent to it.
  virtual void drained(Session& session) = 0;
};

// Of each uid.
struct ServerLimits {
  std::size_t connections = 256;
  std::size_t inFlightBytes = std::size_t{64} << 20;
  std::size_t descriptors = 4096;  // that wait with tasks
  std::size_t ringBytes = std::size_t{64} << 20;
  std::size_t frameBytes = ipc::kMaxFrameBytes;  // of connections made from now on, as is the next
  std::size_t frameFds = ipc::kMaxFds;
};

struct ServerOptions {
  ServerLimits limits;
  std::function<bool(Uid)> admits;  // who may connect
};

class Server {
 public:
  Server(Loop& loop, RequestHandler& handler, Closer& closer, ServerOptions options);
  ~Server();

  // Takes connections from this listening socket from now on, in place of an earlier one.
  void listen(shm::Fd socket);
  int listener() const { return listener_.get(); }

  // Queues a frame; it leaves at the end of the loop's turn.
  void send(Session& session, ipc::Message& message);
  Session* find(SessionId id);
  // A long request of the session is under way: no frame of it is served until resume().
  void pause(Session& session);
  void resume(Session& session);
  // The session broke the protocol: it is closed, and counted.
  void fault(SessionId id);
  void forEach(const std::function<void(Session&)>& visit);
  void setLimits(const ServerLimits& limits);

  std::size_t size() const { return sessions_.size(); }
  std::uint64_t badFrames() const { return badFrames_; }
  std::uint64_t slowClosed() const { return slowClosed_; }
  std::size_t inFlightBytes() const;
  std::size_t ringBytes() const;
  // Sends what is queued. To be called at the end of each turn.
  void flush();

 private:
  void accept();
  void admit(shm::Fd socket);
  // With rings these are looked at, too; without news from the socket only they are.
  void readable(SessionId id, bool fromSocket);
  void serve(Session& session, ipc::ReceivedFrame& frame);
  // The client closed its side.
  void ended(Session& session);
  void close(SessionId id);
  void drained(Session& session);
  void watch(Session& session, bool unsent);
  void serveAgain(Session& session);
  // It has something to be flushed.
  void soil(Session& session);

  // server_rings.cc
  // False: the frame is not about rings.
  bool serveRings(Session& session, ipc::wire::Frame::Reader frame);
  void giveRings(Session& session, ipc::wire::Frame::Reader frame);
  void rung(Session& session);
  void hearAgain();
  // At the end of the turn the session's rings are looked at once more, and are to ring from then on.
  void toArm(Session& session);
  void arm();

  // server_flow.cc: bytes in flight
  struct User {
    std::size_t connections = 0;
    std::shared_ptr<ipc::Budget> budget;
    std::shared_ptr<ipc::Budget> waits;  // as large again: they last long, and must not starve what moves
    std::shared_ptr<ipc::Budget> descriptors;
    std::shared_ptr<ipc::Budget> rings;
  };
  User& user(Uid uid);
  void leave(Uid uid);
  static void account(Session& session);
  void starve(Session& session);
  void feedStarved();
  bool isFull(Uid uid);
  void watchSlow();
  void closeSlow();
  void closeSlow(Session& session);
  // A frame of it waits for an earlier one that does not come.
  void watchEarly(Session& session);
  void closeEarly();
  void shedUnread();

  Loop& loop_;
  RequestHandler& handler_;
  Closer& closer_;
  ServerOptions options_;
  shm::Fd listener_;
  Source listenSource_;
  Source acceptAgain_;
  std::map<SessionId, std::unique_ptr<Session>> sessions_;
  std::map<Uid, User> users_;       // with a session, or something charged
  std::vector<SessionId> starved_;  // the longest first
  Source slowTimer_;
  bool slowWatched_ = false;
  std::vector<SessionId> dirty_;
  std::vector<SessionId> toArm_;
  std::vector<SessionId> deaf_;
  Source hearAgain_;
  std::uint64_t framesServed_ = 0;
  std::vector<SessionId> again_;  // with frames received but not yet served
  Source readAgain_;
  SessionId lastId_ = 0;
  std::uint64_t badFrames_ = 0;
  std::uint64_t slowClosed_ = 0;
};

// An error reply to `request`.
void writeError(const Error& error, RequestId request, ipc::Message& message);

}  // namespace baton::daemon
