// Closes foreign descriptors on a thread of its own: the last close of a file that a peer passed can block
// (FUSE), or take a second (a huge memfd), and the loop must not.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "shm/fd.h"

namespace baton::daemon {

class Closer {
 public:
  Closer() = default;
  // Leaves a thread that is stuck in a close behind; the process is about to end.
  ~Closer();
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  // Any thread. What waits is bounded by the descriptors that a process may have.
  void close(shm::Fd fd);
  // A close hangs, and so many wait behind it that no more foreign ones should be taken.
  bool stuck() const;

 private:
  // Beyond what clients that end at the same time leave behind; a twentieth of what some containers allow.
  static constexpr std::size_t kStuck = 1024;
  struct Shared {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<shm::Fd> waiting;
    bool ending = false;
  };
  std::shared_ptr<Shared> shared_;
};

}  // namespace baton::daemon
