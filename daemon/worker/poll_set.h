// The descriptors of one turn of the loop.
#pragma once

#include <poll.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "daemon/worker/time.h"

namespace baton::worker {

class PollSet {
 public:
  void clear() { count_ = 0; }
  void add(int fd, short events) { polls_[count_++] = {fd, events, 0}; }
  // True if something happened on `fd`, an error or its end included.
  bool ready(int fd) const {
    for (std::size_t i = 0; i < count_; ++i) {
      if (polls_[i].fd == fd && polls_[i].revents != 0) return true;
    }
    return false;
  }
  // Blocks until something happens or `deadline` has passed.
  void wait(Time deadline) {
    timespec timeout{};
    if (deadline != kNever) {
      const auto left = deadline - Clock::now();
      const auto ns = static_cast<long long>(nanoseconds(left));
      timeout = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    }
    if (::ppoll(polls_.data(), count_, deadline == kNever ? nullptr : &timeout, nullptr) <= 0) {
      for (std::size_t i = 0; i < count_; ++i) polls_[i].revents = 0;
    }
  }

 private:
  // Daemon, signals, two pipes, parcel or monitor; one to spare.
  std::array<pollfd, 6> polls_{};
  std::size_t count_ = 0;
};

}  // namespace baton::worker
