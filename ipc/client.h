// A blocking client of the daemon: one connection, requests and their replies. Not thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "ipc/connection.h"
#include "ipc/locate.h"

namespace baton::ipc {

struct ClientOptions {
  Which which = Which::any;
  bool start = false;   // start the user's daemon if none runs
  std::string program;  // shown in listings
};

class Client {
 public:
  // Connects and says hello. Throws Error(noDaemon | version | refused | protocol).
  explicit Client(const ClientOptions& options);
  // Takes a socket of tryConnect() or connectOrStart(), and sends `first` right behind the hello, which saves
  // a round trip. Its id is kFirstRequest; what answers it comes by receive().
  Client(shm::Fd socket, const std::string& program, Message& first);
  static constexpr std::uint64_t kFirstRequest = 2;

  // What the daemon said of itself. Valid as long as the client lives.
  wire::HelloReply::Reader hello() const { return hello_->get().getHelloReply(); }

  // Sends a request under a new id, and returns the id. Does not wait.
  std::uint64_t send(Message& request);
  // The next frame, of whatever id. nullopt: the time ran out. Throws Error(disconnected | protocol).
  std::optional<ReceivedFrame> receive(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Sends, and waits for the final reply; events that come before go to `onEvent`. An error reply is thrown.
  using EventHandler = std::function<void(wire::Frame::Reader)>;
  ReceivedFrame call(Message& request, const EventHandler& onEvent = {});

  // From now on frames without descriptors travel in shared memory. False: the daemon gives none; the socket
  // does all. `bytes`: of each ring.
  bool useRings(std::uint32_t bytes = kMinConnectionRingBytes);

  // For callers with a loop of their own: poll fd() for input, and for output while unsent() > 0.
  Connection& connection() { return connection_; }

 private:
  void sayHello(const std::string& program);
  void awaitHello();
  void flush();
  // False: the time ran out. `input`: the socket may have something.
  bool waitFor(std::optional<std::chrono::milliseconds> timeout, bool& input);

  Connection connection_;
  std::uint64_t lastId_ = 0;
  std::optional<ReceivedFrame> hello_;
};

// True for frames that come before a request's final reply.
bool isEvent(wire::Frame::Reader frame);
// Throws the error that the frame carries, if it carries one.
void throwIfError(wire::Frame::Reader frame);

}  // namespace baton::ipc
