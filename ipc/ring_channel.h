// One end of a pair of rings that carries frames without descriptors; beside a socket, see connection.h. The
// peer is not trusted.
//
// A frame is one record, in the framing of the socket; one that is larger than a record is cut into pieces as
// large as a record can be, all but the last flagged `more`, and counts when its last piece has come.
//
// Invariants
// 1. Nothing is lost for lack of room: what the ring does not take waits here, in order.
// 2. A frame is read from a private copy. Large ones are charged to the budget before they are copied, as on
//    the socket; pieces of one that is whole already are refused.
// 3. What was taken out is given back to the peer when it is a quarter of the ring, and in `arm`: who sleeps
//    has given back all.
//
// A death of the peer at any step leaves what ring.h says. Whatever it writes: frames, or Error(protocol),
// which `send`, `mark` and `passed` leave to the next `flush`: they are called on the behalf of others.
#pragma once

#include <deque>
#include <memory>

#include "ipc/frame.h"
#include "shm/duplex.h"
#include "shm/wake.h"

namespace baton::ipc {

// Sizes of a connection's rings, each way.
constexpr std::size_t kMinConnectionRingBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxConnectionRingBytes = std::size_t{256} << 10;

// Throws Error(usage) for a size that is none, or too small. One that is too large is cut.
std::size_t connectionRingBytes(std::uint32_t asked);

class RingChannel {
 public:
  struct Ends {
    shm::Mapping memory;  // new: all zero
    shm::DuplexSizes sizes;
    shm::Side side = shm::Side::first;
    shm::Doorbell own;   // rung by the peer; a client's is polled by it
    shm::Doorbell peer;  // rings the peer
  };
  explicit RingChannel(Ends ends, std::size_t maxFrameBytes = kMaxFrameBytes,
                       std::shared_ptr<Budget> budget = nullptr);

  // ---- sending
  // Takes a frame without descriptors; never blocks, never fails.
  void send(Message& message);
  // Hands over what the ring takes, and wakes the peer. True: all of it.
  bool flush();
  // What the ring has not taken yet.
  std::size_t unsentBytes() const { return unsent_; }
  // The frame sent last: `passed` returns at least this once the peer has taken it. To be called before the
  // next `send`.
  std::uint64_t mark();
  // The last mark that the peer has passed.
  std::uint64_t passed();

  // ---- receiving
  // The next frame that is there in full.
  std::optional<ReceivedFrame> next();
  // False: the frame that comes finds no room in the budget; `next` returns nothing until it does.
  [[nodiscard]] bool admit();
  std::size_t chargedBytes() const { return reader_.chargedBytes(); }

  // ---- sleeping
  // From now on the peer rings when it has done something. Look again before you sleep.
  void arm();
  // `next` has something to look at.
  bool readable();
  // The ring takes more of what is unsent.
  bool writable();
  int bellFd() const { return own_.fd(); }
  // For a client: until it is writable, or readable if `listen`, or as shm/wake.h says.
  shm::Woken wait(bool listen, std::span<pollfd> others, shm::Deadline deadline);

 private:
  template <class Work>
  auto guarded(Work&& work);
  void release();
  std::optional<std::span<std::byte>> reserve(std::size_t bytes);
  void push();
  std::optional<ReceivedFrame> whole(const shm::RingRecord& record);
  std::optional<ReceivedFrame> piece(const shm::RingRecord& record);

  shm::Mapping memory_;
  shm::Duplex duplex_;
  shm::Doorbell own_;
  shm::Doorbell peer_;
  shm::RingProducer out_;
  shm::RingConsumer in_;
  shm::Waker waker_;
  shm::Sleeper sleeper_;

  std::deque<std::vector<std::byte>> backlog_;  // frames
  std::size_t begun_ = 0;                       // of the first of them: bytes in the ring
  std::size_t unsent_ = 0;

  struct Mark {
    std::uint64_t frame = 0;
    std::uint64_t position = 0;  // in the ring
  };
  std::uint64_t sent_ = 0;    // frames
  std::uint64_t placed_ = 0;  // of these, in the ring in full
  std::uint64_t passed_ = 0;
  std::deque<std::uint64_t> waitingMarks_;  // of frames that are not placed
  std::deque<Mark> marks_;

  std::size_t maxFrameBytes_;
  std::shared_ptr<Budget> budget_;
  FrameReader reader_;   // of a frame in pieces
  bool broken_ = false;  // the peer, as found where nothing may be thrown
  bool inPieces_ = false;
  bool noRoom_ = false;
};

}  // namespace baton::ipc
