// The queued tasks of one uid and lane, in the order in which they start. For Scheduler alone.
//
// A treap that owns nothing: an entry stays where its owner keeps it, and must live until it is erased.
// It is not a std::set because that cannot say how many stand before one without walking there, which at
// 10^6 queued tasks would hold the event loop for tens of milliseconds. The shape is drawn from the ids.
#pragma once

#include <cstddef>
#include <cstdint>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

// One queued task: 48 bytes, a million of them are 48 MB and as much again for the index by id.
struct QueueEntry {
  std::int64_t orderNs = 0;  // submitted - priority * 60 s
  TaskId id = 0;
  QueueEntry* left = nullptr;  // these three belong to the TaskOrder
  QueueEntry* right = nullptr;
  std::uint32_t count = 1;  // entries in the tree below and with this one
  Uid uid = 0;
  std::uint32_t slots = 1;
  Lane lane = Lane::cpu;

  bool before(const QueueEntry& other) const {
    return orderNs != other.orderNs ? orderNs < other.orderNs : id < other.id;
  }
};

class TaskOrder {
 public:
  // O(log n). The entry is in no other order; (orderNs, id) is not in this one.
  void insert(QueueEntry& entry);
  // O(log n). The entry is in this order.
  void erase(QueueEntry& entry);

  bool empty() const { return root_ == nullptr; }
  std::size_t size() const { return root_ == nullptr ? 0 : root_->count; }
  // O(1). nullptr if empty.
  QueueEntry* first() const { return first_; }
  // O(log n). How many entries start before this one, which is in this order.
  std::size_t ahead(const QueueEntry& entry) const;

 private:
  QueueEntry* root_ = nullptr;
  QueueEntry* first_ = nullptr;
};

}  // namespace baton::daemon
