// A non-blocking end of a Unix stream socket that carries frames and descriptors. It knows no event loop: the
// owner polls fd() for input while it wants frames, and for output while unsentBytes() > 0.
#pragma once

#include <sys/socket.h>

#include <deque>

#include "ipc/frame.h"

namespace baton::ipc {

// What is taken from the peer.
struct Intake {
  std::size_t maxFrameBytes = kMaxFrameBytes;
  std::size_t maxFds = kMaxFds;              // of a frame
  std::shared_ptr<Budget> budget = nullptr;  // charged for large frames; none: no bound but the frame's
};

class Connection {
 public:
  // Takes a connected SOCK_STREAM socket and makes it non-blocking.
  explicit Connection(shm::Fd socket, Intake intake = {});

  int fd() const { return socket_.get(); }

  enum class Input { more, wouldBlock, closed, noRoom };
  // One recvmsg. `more`: something was read, there may be more. `noRoom`: the budget has none for the frame
  // that comes; nothing was read. Throws Error(protocol) for descriptors that do not fit their frame.
  Input receive();
  // True: the next `receive` will not say noRoom.
  [[nodiscard]] bool admit() { return reader_.admit(); }
  // The next complete frame that was received, with its descriptors. Throws Error(protocol | tooLarge).
  std::optional<ReceivedFrame> next();

  // Queues a frame; never blocks, never fails.
  void send(Message& message);
  // Writes what the socket takes. True: all is written. Throws Error(disconnected).
  bool flush();
  std::size_t unsentBytes() const { return unsent_; }
  // Of a large frame that has come in part.
  std::size_t chargedBytes() const { return reader_.chargedBytes(); }

  // The peer's end has come: nothing is left in the socket.
  bool readToEnd() const { return readToEnd_; }
  // For who must not close it here: what the peer has sent and nobody has read is closed with it. To be sent
  // to or received from no more.
  shm::Fd takeSocket();

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
  std::size_t maxFds_;
  FrameReader reader_;
  std::deque<shm::Fd> fdsIn_;
  std::deque<Chunk> out_;
  std::size_t unsent_ = 0;
  bool readToEnd_ = false;
};

}  // namespace baton::ipc
