// The Dispatcher's part about tasks that wait: they give their slots back, and take them again.
#include "daemon/dispatcher.h"

namespace baton::daemon {
namespace {

// A wait shorter than this costs nothing.
constexpr std::chrono::nanoseconds kBeforeParking = std::chrono::milliseconds(10);
// How often what is parked, or would be, is looked at; parked ones only while others queue.
constexpr std::chrono::nanoseconds kSampleEvery = std::chrono::milliseconds(200);
// A parked tree that uses more of a core than this computes, and holds its slots again.
constexpr double kComputesAbove = 0.20;

}  // namespace

void Dispatcher::setParked(Task& task, bool parked) {
  if (!task.running) return;
  task.running->parked = parked;
  pool_.setParked(task, parked);
}

void Dispatcher::watchWaiting(std::chrono::nanoseconds at) {
  if (parkingAt_ && *parkingAt_ <= at) return;
  parkingAt_ = at;
  parkingTimer_.arm(at - monotonicNow());
}

void Dispatcher::beginWait(Task& task) {
  Waiting& waiting = waiting_[task.key];
  ++waiting.count;
  waiting.returning = false;
  waiting.due = monotonicNow() + kBeforeParking;
  watchWaiting(waiting.due);
}

bool Dispatcher::endWait(TaskId key) {
  const auto found = waiting_.find(key);
  if (found == waiting_.end()) return true;
  Waiting& waiting = found->second;
  if (waiting.count > 0) --waiting.count;
  Task* task = registry_.find(key);
  if (task == nullptr || !task->running || !task->running->parked || task->running->stopped) {
    if (waiting.count == 0) waiting_.erase(found);
    return true;
  }
  // Whoever got an answer goes on, and may compute: the slots first.
  if (!waiting.returning) {
    waiting.returning = true;
    scheduler_.unpark(key, monotonicNow());
  }
  dispatch();
  return !waiting_.contains(key) || !task->running->parked;
}

void Dispatcher::pipelineChanged(const Pipelines::Change& change) {
  for (const TaskId task : change.begin) {
    if (Task* running = registry_.find(task)) beginWait(*running);
  }
  // They run all the time, with their slots or without: nobody holds them back until they have them again.
  for (const TaskId task : change.end) [[maybe_unused]] const bool mayGoOn = endWait(task);
}

void Dispatcher::resumed(Task& task) {
  setParked(task, false);
  if (const auto stopped = toContinue_.find(task.key); stopped != toContinue_.end()) {
    const bool foreground = stopped->second;
    toContinue_.erase(stopped);
    task.running->stopped = false;
    pool_.continueStopped(task, foreground);
    observer_->taskContinued(task);
  }
  if (const auto waiting = waiting_.find(task.key); waiting != waiting_.end()) {
    waiting->second.returning = false;
    waiting->second.cpuNs.reset();
    if (waiting->second.count == 0) {
      waiting_.erase(waiting);
    } else {
      waiting->second.due = monotonicNow() + kSampleEvery;
      watchWaiting(waiting->second.due);
    }
  }
  observer_->taskMayGoOn(task.key);
}

// Looks at all that wait: those that hold slots may give them back, those that gave them back may compute.
void Dispatcher::parkingTimer() {
  parkingAt_.reset();
  const auto now = monotonicNow();
  const bool othersQueue = scheduler_.queued() > 0;
  for (auto& [key, waiting] : waiting_) {
    Task* task = registry_.find(key);
    if (task == nullptr || !task->running || waiting.count == 0 || waiting.returning) continue;
    if (task->running->stopped) continue;
    if (task->running->parked && !othersQueue) {
      // What it computes takes nothing from anybody; enqueue() looks again when somebody comes.
      waiting.cpuNs.reset();
      continue;
    }
    if (waiting.due <= now) {
      pool_.sample(*task);
      waiting.due = now + kSampleEvery;
    }
    watchWaiting(waiting.due);
  }
}

void Dispatcher::taskSampled(TaskId key, std::uint64_t cpuNs, bool asleep) {
  const auto found = waiting_.find(key);
  Task* task = registry_.find(key);
  if (found == waiting_.end() || task == nullptr || !task->running || found->second.count == 0) return;
  Waiting& waiting = found->second;
  const auto now = monotonicNow();
  const auto before = waiting.cpuNs;
  const double elapsed = static_cast<double>((now - waiting.sampledAt).count());
  waiting.cpuNs = cpuNs;
  waiting.sampledAt = now;
  const bool computes =
      before && static_cast<double>(cpuNs - *before) > kComputesAbove * std::max(elapsed, 1.0);
  if (task->running->parked) {
    if (computes && !waiting.returning) {
      scheduler_.forceRun(key, now);
      resumed(*task);
    }
  } else if (asleep && !computes) {
    park(*task);
  }
}

void Dispatcher::park(Task& task) {
  if (!scheduler_.park(task.key, monotonicNow())) {
    waiting_.erase(task.key);
    observer_->taskTooDeep(task.key);
    return;
  }
  setParked(task, true);
  dispatch();
}

void Dispatcher::taskStopped(TaskId key, int signal) {
  Task* task = registry_.find(key);
  if (task == nullptr || !task->running) return;
  task->running->stopped = true;
  toContinue_.erase(key);
  // Also one that waits to go on: stopped, it needs no slot.
  if (scheduler_.park(key, monotonicNow())) setParked(*task, true);
  observer_->taskStopped(*task, signal);
  dispatch();
}

void Dispatcher::continueStopped(Task& task, bool foreground) {
  if (!task.running) return;
  if (!task.running->parked) {
    // It holds its slots: too many were parked, or it was continued by somebody else's signal.
    task.running->stopped = false;
    pool_.continueStopped(task, foreground);
    observer_->taskContinued(task);
    return;
  }
  toContinue_[task.key] = foreground;
  scheduler_.unpark(task.key, monotonicNow());
  dispatch();
}

}  // namespace baton::daemon
