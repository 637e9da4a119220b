// A non-blocking end of a Unix stream socket that carries frames and descriptors. It knows no event loop: the
// owner polls fd() for input while it wants frames, and for output while unsentBytes() > 0.
#pragma once

#include <sys/socket.h>

#include <deque>

#include "ipc/frame.h"

namespace baton::ipc {

class Connection {
 public:
  // Takes a connected SOCK_STREAM socket and makes it non-blocking.
  explicit Connection(shm::Fd socket, std::size_t maxFrameBytes = kMaxFrameBytes);

  int fd() const { return socket_.get(); }

  enum class Input { more, wouldBlock, closed };
  // One recvmsg. `more`: something was read, there may be more. Throws Error(protocol) for descriptors that
  // do not fit their frame.
  Input receive();
  // The next complete frame that was received, with its descriptors. Throws Error(protocol | tooLarge).
  std::optional<ReceivedFrame> next();

  // Queues a frame; never blocks, never fails.
  void send(Message& message);
  // Writes what the socket takes. True: all is written. Throws Error(disconnected).
  bool flush();
  std::size_t unsentBytes() const { return unsent_; }

  // True while a frame has come in part.
  bool partial() const { return reader_.partial(); }
  // Descriptors that came and belong to no frame yet; the caller owns them. For the end of the connection.
  std::deque<shm::Fd> takeUnclaimed() { return std::move(fdsIn_); }

 private:
  struct Chunk {
    std::vector<std::byte> bytes;
    std::size_t sent = 0;
    std::vector<shm::Fd> fds;  // sent with the first byte
  };
  void takeFds(msghdr& header);
  bool sendChunk(Chunk& chunk);

  shm::Fd socket_;
  FrameReader reader_;
  std::deque<shm::Fd> fdsIn_;
  std::deque<Chunk> out_;
  std::size_t unsent_ = 0;
};

}  // namespace baton::ipc
