// The listening socket and its sessions: frames in, frames out, nothing of their meaning.
//
// A session that breaks the protocol is closed and counted; nobody else notices. Nothing here waits: a client
// that does not read is not read from.
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

struct ServerOptions {
  std::size_t maxConnections = 256;  // of a uid
  std::function<bool(Uid)> admits;   // who may connect
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
  void forEach(const std::function<void(Session&)>& visit);
  void setMaxConnections(std::size_t count) { options_.maxConnections = count; }

  std::size_t size() const { return sessions_.size(); }
  std::uint64_t badFrames() const { return badFrames_; }
  // Sends what is queued. To be called at the end of each turn.
  void flush();

 private:
  void accept();
  void admit(shm::Fd socket);
  void readable(SessionId id);
  void serve(Session& session, ipc::ReceivedFrame& frame);
  // The client closed its side.
  void ended(Session& session);
  void close(SessionId id);
  void drained(Session& session);
  void watch(Session& session, bool unsent);

  Loop& loop_;
  RequestHandler& handler_;
  Closer& closer_;
  ServerOptions options_;
  shm::Fd listener_;
  Source listenSource_;
  Source acceptAgain_;
  std::map<SessionId, std::unique_ptr<Session>> sessions_;
  std::map<Uid, std::size_t> perUid_;
  std::vector<SessionId> dirty_;
  std::vector<SessionId> again_;  // with frames received but not yet served
  Source readAgain_;
  SessionId lastId_ = 0;
  std::uint64_t badFrames_ = 0;
};

// An error reply to `request`.
void writeError(const Error& error, RequestId request, ipc::Message& message);

}  // namespace baton::daemon
