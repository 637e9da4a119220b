// The records of a batch by index, for batches that have no end: what was dropped at the front takes no room.
#pragma once

#include <cstdint>
#include <deque>

namespace baton::daemon {

struct Task;

class BatchTasks {
 public:
  // Tasks ever added: the greatest index. Indices count from 1.
  std::uint64_t added() const { return dropped_ + kept_.size(); }
  // nullptr: the record was dropped, or there never was such a task.
  Task* at(std::uint64_t index) const {
    return index <= dropped_ || index > added() ? nullptr : kept_[index - dropped_ - 1];
  }
  // The index before the first record that may still be there.
  std::uint64_t dropped() const { return dropped_; }

  void add(Task& task) { kept_.push_back(&task); }
  void drop(std::uint64_t index) {
    kept_.at(index - dropped_ - 1) = nullptr;
    while (!kept_.empty() && kept_.front() == nullptr) {
      kept_.pop_front();
      ++dropped_;
    }
  }

  // Every record in order of index. `visit` may not drop any.
  template <typename Visit>
  void forEach(Visit&& visit) const {
    for (Task* task : kept_) {
      if (task != nullptr) visit(*task);
    }
  }

 private:
  std::deque<Task*> kept_;  // nullptr: dropped, but something before it is not
  std::uint64_t dropped_ = 0;
};

}  // namespace baton::daemon
