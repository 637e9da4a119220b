// The pipes on which a task prints, and the reading of them.
//
// The worker keeps the writing ends open while the task lives, so that it is woken by output alone and not by
// each descriptor that is closed; when the tree has ended it closes them and reads what is left.
#pragma once

#include <array>
#include <span>

#include "daemon/worker/output_sink.h"
#include "daemon/worker/poll_set.h"
#include "shm/fd.h"

namespace baton::worker {

// As much as a pipe holds.
inline constexpr std::size_t kReadBytes = std::size_t{64} << 10;

class OutputPipes {
 public:
  // `buffer` is used while reading only; both outlive this.
  OutputPipes(OutputSink& sink, std::span<char> buffer) : sink_(sink), buffer_(buffer) {}

  // Makes the pipe of `stream` (1 or 2); the writing end, for the task, stays owned here. Throws
  // Error(system).
  int open(int stream);

  bool canRead() const { return sink_.hasRoom(); }
  void addTo(PollSet& polls) const;
  // Reads once from each pipe that has something.
  void read(const PollSet& polls);

  // No process of the task is left: what is in the pipes now is all that it printed. Strangers who got hold
  // of a pipe may go on, but are not read.
  void closeWriters();
  // Reads the rest. True: that was all; false: the sink has no room, call again. After closeWriters.
  [[nodiscard]] bool drain();

 private:
  struct Pipe {
    shm::Fd reader;
    shm::Fd writer;
    std::size_t left = 0;  // to be read, once the writers are closed
  };
  std::size_t readOnce(std::size_t index, std::size_t limit);

  OutputSink& sink_;
  std::span<char> buffer_;
  std::array<Pipe, 2> pipes_;
};

}  // namespace baton::worker
