#include "daemon/dispatcher.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

// A task that loses its worker again and again is not tried for ever.
constexpr unsigned kMaxCrashLosses = 5;
constexpr std::chrono::nanoseconds kFirstRetryDelay = std::chrono::milliseconds(100);
constexpr unsigned kMaxRetryDoublings = 8;
// To start a worker takes some hundred microseconds, and the IO lane may start hundreds at once.
constexpr std::chrono::nanoseconds kMostPerTurn = std::chrono::microseconds(500);

}  // namespace

Dispatcher::Dispatcher(const Parts& parts)
    : loop_(parts.loop),
      registry_(parts.registry),
      scheduler_(parts.scheduler),
      pool_(parts.pool),
      store_(parts.store) {
  again_ = loop_.onTurn([this] { dispatch(); });
  dueTimer_ = loop_.onTimer([this] { timers(); });
  parkingTimer_ = loop_.onTimer([this] { parkingTimer(); });
}

void Dispatcher::record(const Task& task, Record::Kind kind, std::function<void()> done) {
  Record record;
  record.kind = kind;
  record.id = task.number;
  record.index = task.index;
  record.uid = task.uid;
  record.state = task.state;
  record.attempt = task.attempt;
  if (kind == Record::Kind::submitted) {
    record.argv = task.argv;
    record.contextHash = task.context->hash();
  }
  if (task.outcome) {
    record.cause = task.outcome->cause;
    record.exitCode = task.outcome->exitCode;
    record.signal = task.outcome->signal;
  }
  record.timeNs = calendarNowNs();
  store_.append(record, std::move(done));
}

void Dispatcher::submit(Task& task, HeldParcel parcel, std::function<void()> recorded) {
  task.queuedAt = monotonicNow();
  task.submittedNs = calendarNowNs();
  if (parcel) parcels_[task.key] = std::move(parcel);
  if (task.options->held) registry_.setState(task, State::HELD);
  record(task, Record::Kind::submitted, [this, key = task.key, recorded = std::move(recorded)] {
    Task* known = registry_.find(key);
    if (recorded) recorded();
    if (known != nullptr && known->state == State::QUEUED) enqueue(*known);
  });
}

void Dispatcher::enqueue(Task& task) {
  const TaskOptions& options = *task.options;
  QueuedTask queued;
  queued.id = task.key;
  queued.uid = task.uid;
  queued.lane = options.lane;
  queued.slots = options.slots;
  queued.priority = options.priority;
  queued.submitted = task.queuedAt;
  scheduler_.add(queued, monotonicNow());
  if (task.pipes) pipelineChanged(pipelines_.queued(task.key, *task.pipes));
  // Parked ones that compute take from this one.
  if (!waiting_.empty()) watchWaiting(monotonicNow() + std::chrono::milliseconds(10));
  if (options.queueLimitNs > 0 && task.attempt == 0) {
    // Its largest values are beyond the clock's.
    const std::uint64_t limitNs =
        std::min<std::uint64_t>(options.queueLimitNs, std::chrono::nanoseconds::max().count());
    after(std::chrono::nanoseconds(limitNs), task.key, Timer::queueLimit);
  }
}

void Dispatcher::openBatch(Batch& batch, std::function<void()> recorded) {
  batch.submittedNs = calendarNowNs();
  Record record;
  record.kind = Record::Kind::batchOpened;
  record.id = batch.number;
  record.uid = batch.uid;
  record.contextHash = batch.context->hash();
  record.timeNs = batch.submittedNs;
  store_.append(record, std::move(recorded));
}

void Dispatcher::closeBatch(Batch& batch) {
  if (batch.closed) return;
  batch.closed = true;
  Record record;
  record.kind = Record::Kind::batchClosed;
  record.id = batch.number;
  record.uid = batch.uid;
  record.timeNs = calendarNowNs();
  store_.append(record, {});
  if (batch.ended()) {
    batch.endedNs = calendarNowNs();
    observer_->batchEnded(batch);
    registry_.retire(batch, monotonicNow());
  }
}

void Dispatcher::dispatch() {
  if (frozen_ || pauses_ > 0 || dispatching_) return;
  dispatching_ = true;
  const auto end = monotonicNow() + kMostPerTurn;
  while (pool_.canStart(Lane::cpu) && pool_.canStart(Lane::io)) {
    if (monotonicNow() >= end) {
      again_.enable(true);
      break;
    }
    const auto start = scheduler_.next(monotonicNow());
    if (!start) break;
    Task* task = registry_.find(start->task);
    if (task == nullptr) {
      scheduler_.end(start->task, monotonicNow());
    } else if (start->returning) {
      resumed(*task);
    } else {
      begin(*task, *start);
    }
  }
  dispatching_ = false;
}

std::shared_ptr<void> Dispatcher::pauseStarts() {
  ++pauses_;
  return {this, [](Dispatcher* dispatcher) {
            --dispatcher->pauses_;
            dispatcher->dispatch();
          }};
}

void Dispatcher::begin(Task& task, const Start& start) {
  HeldParcel parcel;
  if (const auto found = parcels_.find(task.key); found != parcels_.end()) {
    // Each attempt takes one set of descriptors from it.
    if (task.attempt + 1U < task.options->attempts) parcel = found->second.duplicate();
    if (!parcel) {
      parcel = std::move(found->second);
      parcels_.erase(found);
    }
  }
  ++task.attempt;
  try {
    pool_.start(task, start.slot == kNoSlot ? 0 : start.slot + 1, parcel.fd());
  } catch (const Error& error) {
    scheduler_.end(task.key, monotonicNow());
    Outcome outcome;
    outcome.cause = Cause::WORKER_LOST;
    outcome.detail = error.what();
    finish(task, std::move(outcome));
    return;
  }
  task.startedNs = calendarNowNs();
  pipelineChanged(pipelines_.started(task.key));
  registry_.setState(task, State::RUNNING);
  record(task, Record::Kind::state, {});
}

void Dispatcher::cancel(Task& task, std::chrono::nanoseconds grace, Cause cause, const std::string& reason) {
  if (isEnd(task.state)) return;
  if (task.running) {
    task.running->cancelling = true;
    if (!reason.empty()) {
      if (!task.outcome) task.outcome = std::make_unique<Outcome>();
      task.outcome->detail = reason;
    }
    pool_.cancel(task, grace, cause);
    return;
  }
  scheduler_.remove(task.key, monotonicNow());
  Outcome outcome;
  outcome.cause = cause;
  outcome.detail = reason;
  finish(task, std::move(outcome));
}

void Dispatcher::signal(Task& task, int signal, bool mainOnly) {
  pool_.signal(task, signal, mainOnly);
}

bool Dispatcher::hold(Task& task) {
  if (task.state != State::QUEUED) return false;
  scheduler_.remove(task.key, monotonicNow());
  delayed_.erase(task.key);
  pipelineChanged(pipelines_.left(task.key));
  registry_.setState(task, State::HELD);
  record(task, Record::Kind::state, {});
  observer_->taskChanged(task);
  dispatch();  // slots may have been kept for it
  return true;
}

bool Dispatcher::release(Task& task) {
  if (task.state != State::HELD) return false;
  registry_.setState(task, State::QUEUED);
  record(task, Record::Kind::state, {});
  enqueue(task);
  observer_->taskChanged(task);
  dispatch();
  return true;
}

void Dispatcher::taskStarted(TaskId key, std::int32_t pid) {
  Task* task = registry_.find(key);
  if (task == nullptr || !task->running) return;
  task->running->pid = pid;
  observer_->taskStarted(*task);
}

void Dispatcher::taskOutput(TaskId key, ipc::wire::Output::Reader output) {
  if (Task* task = registry_.find(key)) observer_->taskOutput(*task, output);
}

void Dispatcher::taskEnded(TaskId key, Outcome outcome) {
  Task* task = registry_.find(key);
  scheduler_.end(key, monotonicNow());
  waiting_.erase(key);
  toContinue_.erase(key);
  if (task != nullptr) {
    if (outcome.detail.empty() && task->running && task->running->cancelling && task->outcome) {
      outcome.detail = task->outcome->detail;
    }
    finish(*task, std::move(outcome));
  }
  dispatch();
}

void Dispatcher::taskLost(TaskId key, bool started, const std::string& how,
                          std::vector<std::int32_t> escaped) {
  Task* task = registry_.find(key);
  scheduler_.end(key, monotonicNow());
  waiting_.erase(key);
  toContinue_.erase(key);
  if (task == nullptr) return;
  if (!started) {
    // Its command cannot have run: the worker was not even ready.
    --task->attempt;
    if (++task->crashLosses <= kMaxCrashLosses && task->options->output != OutputMode::PARCEL) {
      requeue(*task, {});
      return;
    }
  } else {
    ++task->crashLosses;
  }
  Outcome outcome;
  outcome.cause = Cause::WORKER_LOST;
  outcome.detail = "its worker " + how;
  outcome.wallNs = calendarNowNs() - std::min(calendarNowNs(), task->startedNs);
  outcome.escaped = std::move(escaped);
  finish(*task, std::move(outcome));
}

void Dispatcher::finish(Task& task, Outcome outcome) {
  pipelineChanged(pipelines_.left(task.key));
  const State state = stateOf(outcome);
  const bool mayRetry =
      state == State::FAILED || (state == State::TIMED_OUT && outcome.cause == Cause::TIME_LIMIT);
  task.outcome = std::make_unique<Outcome>(std::move(outcome));
  task.running.reset();
  if (mayRetry && task.attempt < task.options->attempts && task.crashLosses <= kMaxCrashLosses &&
      (task.options->output != OutputMode::PARCEL || parcels_.contains(task.key))) {
    // A failure is tried again at once, a lost worker after a while.
    const bool lost = task.outcome->cause == Cause::WORKER_LOST;
    const unsigned doublings = std::min<unsigned>(task.crashLosses, kMaxRetryDoublings);
    requeue(task, lost ? kFirstRetryDelay * (1U << doublings) : std::chrono::nanoseconds{});
    return;
  }
  task.endedNs = calendarNowNs();
  parcels_.erase(task.key);
  registry_.setState(task, state);
  record(task, Record::Kind::state, [this, key = task.key] {
    Task* ended = registry_.find(key);
    if (ended == nullptr) return;
    Batch* batch = ended->batch;
    if (batch != nullptr) batch->highestCode = std::max(batch->highestCode, exitCodeOf(*ended->outcome));
    observer_->taskEnded(*ended);
    registry_.retire(*ended, monotonicNow());
    if (batch != nullptr && batch->ended()) {
      batch->endedNs = calendarNowNs();
      observer_->batchEnded(*batch);
      registry_.retire(*batch, monotonicNow());
    }
  });
}

void Dispatcher::requeue(Task& task, std::chrono::nanoseconds delay) {
  task.running.reset();
  registry_.setState(task, State::QUEUED);
  record(task, Record::Kind::state, {});
  observer_->taskChanged(task);
  if (delay.count() == 0) {
    enqueue(task);
  } else {
    delayed_.insert(task.key);
    after(delay, task.key, Timer::requeue);
  }
}

void Dispatcher::poolHasRoom() {
  dispatch();
}

void Dispatcher::after(std::chrono::nanoseconds delay, TaskId task, Timer kind) {
  // A limit beyond some hundred years is none.
  constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(24 * 365 * 100);
  due_.emplace(monotonicNow() + std::min(delay, kLongest), std::pair(task, kind));
  armTimer();
}

void Dispatcher::armTimer() {
  if (due_.empty()) {
    dueTimer_.disarm();
  } else {
    dueTimer_.arm(due_.begin()->first - monotonicNow());
  }
}

void Dispatcher::timers() {
  const auto now = monotonicNow();
  while (!due_.empty() && due_.begin()->first <= now) {
    const auto [key, kind] = due_.begin()->second;
    due_.erase(due_.begin());
    Task* task = registry_.find(key);
    if (task == nullptr || task->state != State::QUEUED) continue;
    if (kind == Timer::requeue) {
      if (delayed_.erase(key) > 0) enqueue(*task);
    } else if (task->attempt == 0) {
      cancel(*task, {}, Cause::QUEUE_LIMIT, "it did not start in time");
    }
  }
  armTimer();
  dispatch();
}

Task* Dispatcher::taskInside(std::string_view value, Uid uid) {
  TaskId key = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), key);
  if (error != std::errc{} || end == value.data() + value.size() || *end != ':') return nullptr;
  Task* task = registry_.find(key);
  const std::string_view secret = value.substr(static_cast<std::size_t>(end - value.data()) + 1);
  const bool inside = task != nullptr && task->uid == uid && task->running && task->running->secret == secret;
  return inside ? task : nullptr;
}

}  // namespace baton::daemon
