// A non-blocking end of a Unix stream socket that carries frames and descriptors, and, once both sides agreed
// on it, of rings in shared memory beside it. It knows no event loop: the owner polls fd() for input while it
// wants frames, and for output while socketUnsent(); with rings it also waits for their bell
// (ring_channel.h).
//
// Order: with rings, frames without descriptors travel in the rings, all others on the socket. Each says how
// many its sender had sent on the other way before it, and is taken only when as many have come there. So
// frames come out as they were sent, whatever way they took.
#pragma once

#include <sys/socket.h>

#include <deque>

#include "ipc/ring_channel.h"

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
  // True: the next `receive` will not say noRoom, and no frame waits in the rings for room.
  [[nodiscard]] bool admit() { return reader_.admit() && (!rings_ || rings_->admit()); }
  // The next complete frame that was received, with its descriptors. Throws Error(protocol | tooLarge).
  std::optional<ReceivedFrame> next();

  // Queues a frame; never blocks, never fails.
  void send(Message& message);
  // Writes what the socket takes. True: all is written. Throws Error(disconnected).
  bool flush();
  std::size_t unsentBytes() const { return unsent_ + (rings_ ? rings_->unsentBytes() : 0); }
  // Bytes wait for room in the socket.
  bool socketUnsent() const { return unsent_ > 0; }
  // Of a large frame that has come in part.
  std::size_t chargedBytes() const { return reader_.chargedBytes() + (rings_ ? rings_->chargedBytes() : 0); }

  // From now on: the peer has the other end, or gets it with what was sent last.
  void useRings(std::unique_ptr<RingChannel> rings) { rings_ = std::move(rings); }
  // nullptr: none are in use.
  RingChannel* rings() { return rings_.get(); }
  // A frame has come that must wait for one on the other way. An honest peer has sent that before.
  bool early() const { return socketHead_ || ringHead_; }
  // `next` has something to look at in the rings.
  bool ringsReadable() { return rings_ && !ringHead_ && rings_->readable(); }
  // For a client with rings: until `next` or `flush` has something to do, or as shm/wake.h says.
  shm::Woken wait(std::span<pollfd> others, shm::Deadline deadline) {
    return rings_->wait(!ringHead_, others, deadline);
  }

  // The peer's end has come: nothing is left in the socket.
  bool readToEnd() const { return readToEnd_; }
  // For who must not close it here: what the peer has sent and nobody has read is closed with it. To be sent
  // to or received from no more.
  shm::Fd takeSocket();

  // True while a frame has come in part.
  bool partial() const { return reader_.partial(); }
  // Descriptors that came and belong to no frame yet; the caller owns them. For the end of the connection.
  std::deque<shm::Fd> takeUnclaimed();

 private:
  struct Chunk {
    std::vector<std::byte> bytes;
    std::size_t sent = 0;
    std::vector<shm::Fd> fds;  // sent with the first byte
  };
  void takeFds(msghdr& header);
  bool sendChunk(Chunk& chunk);
  bool flushSocket();
  std::optional<ReceivedFrame> nextOfSocket();

  shm::Fd socket_;
  std::size_t maxFds_;
  FrameReader reader_;
  std::deque<shm::Fd> fdsIn_;
  std::deque<Chunk> out_;
  std::size_t unsent_ = 0;
  bool readToEnd_ = false;

  std::unique_ptr<RingChannel> rings_;
  // Frames on each way, modulo 2^32.
  struct Counts {
    std::uint32_t socket = 0;
    std::uint32_t rings = 0;
  };
  Counts sent_;
  Counts received_;  // and taken out
  // With rings: the next of each way, if it has come.
  std::optional<ReceivedFrame> socketHead_;
  std::optional<ReceivedFrame> ringHead_;
};

}  // namespace baton::ipc
