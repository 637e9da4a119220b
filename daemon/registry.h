// Every task and batch the daemon knows: lookup, counts, listing order, and how long the finished ones are
// kept. Decides nothing about running them. Single-threaded.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>

#include "daemon/ids.h"
#include "daemon/task.h"

namespace baton::daemon {

struct Retention {
  std::uint64_t entries = 1000;  // finished tasks and batches
  std::chrono::nanoseconds age{};
  // Records of finished tasks in all, those of batches included: a batch counts as one entry however many it
  // has.
  std::uint64_t tasks = 100'000;
  std::uint64_t bytes = 128ULL << 20;  // of those records, as bytesOf counts them
};

class Registry {
 public:
  // What users call by a number: a task of its own, or a batch.
  struct Entry {
    TaskId id = 0;
    Uid uid = 0;
    Task* task = nullptr;
    std::unique_ptr<Batch> batch;
  };

  Registry(IdCounter& ids, Retention retention) : ids_(ids), retention_(retention) {}

  // A new record with a number of its own; the reference is valid until the record is dropped.
  Task& addTask(Uid uid, TaskContent content = {});
  Batch& addBatch(Uid uid);
  // A new record in the batch, with the next index and the batch's options and context.
  Task& addTaskTo(Batch& batch, std::string argv = {});

  Task* find(TaskId key);
  // The entry with this number; nullptr: unknown, or another uid's.
  Entry* entry(std::uint64_t number, Uid uid);
  // The same, whoever's it is.
  Entry* entry(std::uint64_t number);
  // The greatest number in use; 0: none.
  std::uint64_t newest() const { return entries_.empty() ? 0 : entries_.rbegin()->first; }
  // In the order of numbers, from the first greater than `after`, until `visit` returns false.
  void forEach(std::uint64_t after, const std::function<bool(Entry&)>& visit);

  // The only way a state changes: keeps the counts.
  void setState(Task& task, State state);
  // To be called once a task has ended and everyone has been told; it and older ones may be dropped by it.
  // Times here are monotonic, so that nothing is lost when somebody sets the clock.
  void retire(Task& task, std::chrono::nanoseconds now);
  // The same for a batch, once it has ended.
  void retire(Batch& batch, std::chrono::nanoseconds now);
  // Drops what ended longer ago than the retention's age.
  void dropAged(std::chrono::nanoseconds now);
  // When the oldest is to be dropped; nullopt: there is none.
  std::optional<std::chrono::nanoseconds> nextDrop() const;
  void setRetention(const Retention& retention);
  // Drops some records of batches that are not kept any more, a few microseconds' worth. False: there are
  // none.
  bool dropSome();

  std::uint64_t count(State state) const { return counts_[static_cast<std::size_t>(state)]; }
  // Not ended.
  std::uint64_t unfinished() const;
  std::uint64_t unfinished(Uid uid) const;
  // What these take, as bytesOf counts it.
  std::uint64_t unfinishedBytes(Uid uid) const;
  std::size_t finishedEntries() const { return finishedEntries_.size(); }
  std::uint64_t submittedEver() const { return submittedEver_; }
  std::uint64_t endedEver() const { return endedEver_; }

  // Called before a record is dropped; set once.
  std::function<void(const Task&)> onDrop;
  // A batch is not kept any more: dropSome() is to be called until it has nothing. A million records dropped
  // at once would hold the loop for a second. Set once.
  std::function<void()> onDropBatch;

 private:
  struct Finished {
    std::uint64_t number;
    std::chrono::nanoseconds at;
  };

  struct Load {
    std::uint64_t tasks = 0;
    std::uint64_t bytes = 0;
  };

  void drop(Task& task);
  void keep(const Finished& finished);
  void dropExcess();
  void dropOldestEntry();
  bool dropOldestTask();
  Task& makeTask(Uid uid, Batch* batch, TaskContent content);

  IdCounter& ids_;
  Retention retention_;
  std::map<TaskId, Task> tasks_;  // not a hash: growing one stops the loop for 30 ms at 10^6
  std::map<std::uint64_t, Entry> entries_;
  std::deque<Finished> finishedEntries_;        // oldest first
  std::deque<TaskId> finishedTasks_;            // those of batches, oldest first; may hold dropped ones
  std::deque<std::unique_ptr<Batch>> dropped_;  // not kept any more, records of theirs are
  std::unordered_map<Uid, Load> unfinishedOf_;
  std::uint64_t finishedBytes_ = 0;
  std::array<std::uint64_t, kStates> counts_{};
  TaskId lastKey_ = 0;
  std::uint64_t submittedEver_ = 0;
  std::uint64_t endedEver_ = 0;
};

}  // namespace baton::daemon
