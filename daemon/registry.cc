#include "daemon/registry.h"

namespace baton::daemon {

Task& Registry::makeTask(Uid uid, Batch* batch, TaskContent content) {
  const TaskId key = ++lastKey_;
  Task& task = tasks_.try_emplace(tasks_.end(), key)->second;
  task.key = key;
  task.uid = uid;
  task.batch = batch;
  task.options = std::move(content.options);
  task.context = std::move(content.context);
  task.argv = std::move(content.argv);
  ++counts_[static_cast<std::size_t>(task.state)];
  Load& load = unfinishedOf_[uid];
  ++load.tasks;
  load.bytes += bytesOf(task);
  ++submittedEver_;
  return task;
}

Task& Registry::addTask(Uid uid, TaskContent content) {
  const std::uint64_t number = ids_.take();
  Task& task = makeTask(uid, nullptr, std::move(content));
  task.number = number;
  entries_[number] = Entry{number, uid, &task, nullptr};
  return task;
}

Batch& Registry::addBatch(Uid uid) {
  const std::uint64_t number = ids_.take();
  auto batch = std::make_unique<Batch>();
  batch->number = number;
  batch->uid = uid;
  Batch& result = *batch;
  entries_[number] = Entry{number, uid, nullptr, std::move(batch)};
  return result;
}

Task& Registry::addTaskTo(Batch& batch, std::string argv) {
  Task& task = makeTask(batch.uid, &batch, {batch.options, batch.context, std::move(argv)});
  task.number = batch.number;
  batch.tasks.add(task);
  task.index = static_cast<std::uint32_t>(batch.tasks.added());
  ++batch.total;
  ++batch.counts[static_cast<std::size_t>(task.state)];
  return task;
}

Task* Registry::find(TaskId key) {
  const auto found = tasks_.find(key);
  return found == tasks_.end() ? nullptr : &found->second;
}

Registry::Entry* Registry::entry(std::uint64_t number) {
  const auto found = entries_.find(number);
  return found == entries_.end() ? nullptr : &found->second;
}

Registry::Entry* Registry::entry(std::uint64_t number, Uid uid) {
  Entry* found = entry(number);
  return found == nullptr || found->uid != uid ? nullptr : found;
}

void Registry::forEach(std::uint64_t after, const std::function<bool(Entry&)>& visit) {
  for (auto at = entries_.upper_bound(after); at != entries_.end(); ++at) {
    if (!visit(at->second)) return;
  }
}

void Registry::setState(Task& task, State state) {
  const auto from = static_cast<std::size_t>(task.state);
  const auto to = static_cast<std::size_t>(state);
  --counts_[from];
  ++counts_[to];
  if (task.batch != nullptr) {
    --task.batch->counts[from];
    ++task.batch->counts[to];
  }
  if (isEnd(state) && !isEnd(task.state)) {
    ++endedEver_;
    const std::size_t bytes = bytesOf(task);
    Load& load = unfinishedOf_[task.uid];
    load.bytes -= bytes;
    if (--load.tasks == 0) unfinishedOf_.erase(task.uid);
    finishedBytes_ += bytes;
  }
  task.state = state;
}

std::uint64_t Registry::unfinished() const {
  std::uint64_t sum = 0;
  for (const auto& [uid, load] : unfinishedOf_) sum += load.tasks;
  return sum;
}

std::uint64_t Registry::unfinished(Uid uid) const {
  const auto found = unfinishedOf_.find(uid);
  return found == unfinishedOf_.end() ? 0 : found->second.tasks;
}

std::uint64_t Registry::unfinishedBytes(Uid uid) const {
  const auto found = unfinishedOf_.find(uid);
  return found == unfinishedOf_.end() ? 0 : found->second.bytes;
}

void Registry::retire(Task& task, std::chrono::nanoseconds now) {
  if (task.batch == nullptr) {
    keep({task.number, now});
    return;
  }
  // The client of an attached batch has been told how each task ended; what went wrong is kept for `show`.
  if (task.batch->attached && task.state == State::SUCCEEDED) {
    drop(task);
    return;
  }
  finishedTasks_.push_back(task.key);
  dropExcess();
}

void Registry::retire(Batch& batch, std::chrono::nanoseconds now) {
  keep({batch.number, now});
}

void Registry::keep(const Finished& finished) {
  finishedEntries_.push_back(finished);
  dropExcess();
}

void Registry::setRetention(const Retention& retention) {
  retention_ = retention;
  dropExcess();
}

void Registry::dropExcess() {
  while (finishedEntries_.size() > retention_.entries) dropOldestEntry();
  while (finishedTasks_.size() > retention_.tasks) dropOldestTask();
  // Those of batches first: a batch still tells how it went without them.
  while (finishedBytes_ > retention_.bytes && dropOldestTask()) {
  }
  while (finishedBytes_ > retention_.bytes && !finishedEntries_.empty()) dropOldestEntry();
}

// One of a batch. False: there is none.
bool Registry::dropOldestTask() {
  if (finishedTasks_.empty()) return false;
  const TaskId oldest = finishedTasks_.front();
  finishedTasks_.pop_front();
  if (Task* known = find(oldest)) drop(*known);
  return true;
}

std::optional<std::chrono::nanoseconds> Registry::nextDrop() const {
  if (finishedEntries_.empty()) return std::nullopt;
  return finishedEntries_.front().at + retention_.age;
}

void Registry::dropAged(std::chrono::nanoseconds now) {
  while (nextDrop().value_or(std::chrono::nanoseconds::max()) <= now) dropOldestEntry();
}

void Registry::dropOldestEntry() {
  const auto found = entries_.find(finishedEntries_.front().number);
  finishedEntries_.pop_front();
  if (found == entries_.end()) return;
  std::unique_ptr<Batch> batch = std::move(found->second.batch);
  if (found->second.task != nullptr) drop(*found->second.task);
  entries_.erase(found);
  if (!batch) return;
  dropped_.push_back(std::move(batch));
  if (onDropBatch) {
    onDropBatch();
  } else {
    while (dropSome()) {
    }
  }
}

bool Registry::dropSome() {
  constexpr int kDropsPerStep = 32;
  if (dropped_.empty()) return false;
  const BatchTasks& tasks = dropped_.front()->tasks;
  // What is dropped takes no room at the front: the first that is left is always a record.
  for (int i = 0; i < kDropsPerStep && tasks.dropped() < tasks.added(); ++i) {
    drop(*tasks.at(tasks.dropped() + 1));
  }
  if (tasks.dropped() == tasks.added()) dropped_.pop_front();
  return true;
}

void Registry::drop(Task& task) {
  if (onDrop) onDrop(task);
  --counts_[static_cast<std::size_t>(task.state)];
  finishedBytes_ -= bytesOf(task);
  if (task.batch != nullptr) task.batch->tasks.drop(task.index);
  tasks_.erase(task.key);
}

}  // namespace baton::daemon
