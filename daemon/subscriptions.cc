#include "daemon/subscriptions.h"

#include <algorithm>

#include "daemon/rows.h"
#include "daemon/sweep.h"

namespace baton::daemon {

using ipc::wire::TaskEvent;

namespace {

constexpr std::size_t kCancelsPerStep = 16;

}  // namespace

void Subscriptions::open(Session& session, RequestId request, bool waits) {
  if (!session.open.insert(request).second) {
    throw Error(Code::protocol, "a request id that is in use");
  }
  if (!waits) return;
  session.waiting.insert(request);
  if (Task* task = registry_.find(session.inside)) dispatcher_.beginWait(*task);
}

void Subscriptions::finish(Session& session, RequestId request, std::unique_ptr<ipc::Message> message) {
  session.open.erase(request);
  message->frame().setId(request);
  if (session.waiting.erase(request) > 0 && session.inside != 0 && !dispatcher_.endWait(session.inside)) {
    session.withheld.push_back(std::move(message));
    return;
  }
  server_->send(session, *message);
}

void Subscriptions::attach(Session& session, RequestId request, Task& task) {
  task.attached = true;
  session.attached.insert(task.key);
  attachedTasks_[task.key] = {session.id, request};
}

void Subscriptions::attach(Session& session, RequestId request, Batch& batch) {
  session.batches[batch.number] = request;
  attachedBatches_[batch.number] = {session.id, request};
}

void Subscriptions::submitted(const Task& task) {
  event(TaskEvent::Kind::SUBMITTED, &task, {});
}

void Subscriptions::taskStarted(const Task& task) {
  event(TaskEvent::Kind::STARTED, &task, {});
  tellItRuns(task);
}

void Subscriptions::tellItRuns(const Task& task) {
  const auto found = attachedTasks_.find(task.key);
  Session* session = found == attachedTasks_.end() ? nullptr : server_->find(found->second.session);
  if (session == nullptr) return;
  ipc::Message message;
  message.frame().setId(found->second.request);
  auto started = message.frame().initStarted();
  started.setTask(task.number);
  started.setPid(task.running->pid);
  started.setSlot(task.running->slot);
  server_->send(*session, message);
}

void Subscriptions::taskStopped(const Task& task, int signal) {
  event(TaskEvent::Kind::STATE, &task, {});
  const auto found = attachedTasks_.find(task.key);
  Session* session = found == attachedTasks_.end() ? nullptr : server_->find(found->second.session);
  if (session == nullptr) return;
  ipc::Message message;
  message.frame().setId(found->second.request);
  auto stopped = message.frame().initStopped();
  stopped.setTask(task.number);
  stopped.setSignal(signal);
  server_->send(*session, message);
}

void Subscriptions::taskOutput(const Task& task, ipc::wire::Output::Reader output) {
  if (task.batch == nullptr) return;
  const auto found = attachedBatches_.find(task.batch->number);
  Session* session = found == attachedBatches_.end() ? nullptr : server_->find(found->second.session);
  if (session == nullptr) return;
  ipc::Message message;
  message.frame().setId(found->second.request);
  message.frame().setOutput(output);
  message.frame().getOutput().setIndex(task.index);
  message.frame().getOutput().setAttempt(task.attempt);
  server_->send(*session, message);
  if (session->connection->unsentBytes() > kMaxUnsentBytes && session->heldOutput.insert(task.key).second) {
    pool_.holdOutput(task, true);
    if (Task* known = registry_.find(task.key)) dispatcher_.beginWait(*known);
  }
}

void Subscriptions::release(Session& session, TaskId key) {
  session.heldOutput.erase(key);
  const Task* task = registry_.find(key);
  if (task == nullptr || !task->running) return;
  // With its slots given back it goes on when it has them again: taskMayGoOn.
  if (dispatcher_.endWait(key)) pool_.holdOutput(*task, false);
}

void Subscriptions::sessionDrained(Session& session) {
  while (!session.heldOutput.empty()) release(session, *session.heldOutput.begin());
  if (session.missedEvents > 0 && session.events != 0) {
    ipc::Message message;
    message.frame().setId(session.events);
    auto event = message.frame().initTaskEvent();
    event.setKind(TaskEvent::Kind::MISSED);
    event.setMissed(std::exchange(session.missedEvents, 0));
    event.setTimeNs(calendarNowNs());
    server_->send(session, message);
  }
}

void Subscriptions::taskChanged(const Task& task) {
  event(TaskEvent::Kind::STATE, &task, {});
}

void Subscriptions::taskContinued(const Task& task) {
  event(TaskEvent::Kind::STATE, &task, {});
  tellItRuns(task);
}

void Subscriptions::taskEnded(const Task& task) {
  event(TaskEvent::Kind::ENDED, &task, {});
  if (const auto found = attachedTasks_.find(task.key); found != attachedTasks_.end()) {
    const Attachment attachment = found->second;
    attachedTasks_.erase(found);
    if (Session* session = server_->find(attachment.session)) {
      session->attached.erase(task.key);
      session->heldOutput.erase(task.key);
      auto message = std::make_unique<ipc::Message>();
      writeRow(task, Detail::row, message->frame().initEnded());
      finish(*session, attachment.request, std::move(message));
    }
  }
  if (task.batch != nullptr && task.attached) {
    const auto found = attachedBatches_.find(task.batch->number);
    Session* session = found == attachedBatches_.end() ? nullptr : server_->find(found->second.session);
    if (session != nullptr) {
      session->heldOutput.erase(task.key);
      ipc::Message message;
      message.frame().setId(found->second.request);
      writeRow(task, Detail::result, message.frame().initTaskEnded());
      server_->send(*session, message);
    }
  }
  ended(waitersOfTask_, task.key);
  if (registry_.unfinished() == 0) {
    for (const Attachment& attachment : std::exchange(untilIdle_, {})) {
      Session* session = server_->find(attachment.session);
      if (session == nullptr) continue;
      auto message = std::make_unique<ipc::Message>();
      message->frame().setOk();
      finish(*session, attachment.request, std::move(message));
    }
  }
}

void Subscriptions::batchEnded(const Batch& batch) {
  if (const auto found = attachedBatches_.find(batch.number); found != attachedBatches_.end()) {
    const Attachment attachment = found->second;
    attachedBatches_.erase(found);
    if (Session* session = server_->find(attachment.session)) {
      session->batches.erase(batch.number);
      auto message = std::make_unique<ipc::Message>();
      writeRow(batch, message->frame().initBatchEnded());
      finish(*session, attachment.request, std::move(message));
    }
  }
  ended(waitersOfBatch_, batch.number);
}

void Subscriptions::waitUntilIdle(Session& session, RequestId request) {
  if (registry_.unfinished() > 0) {
    const bool again = std::any_of(untilIdle_.begin(), untilIdle_.end(),
                                   [&](const Attachment& waiting) { return waiting.session == session.id; });
    if (again) throw Error(Code::quota, "this connection waits for that already");
    untilIdle_.push_back({session.id, request});
    return;
  }
  auto message = std::make_unique<ipc::Message>();
  message->frame().setOk();
  finish(session, request, std::move(message));
}

void Subscriptions::taskMayGoOn(TaskId key) {
  const Task* task = registry_.find(key);
  if (task == nullptr) return;
  server_->forEach([&](Session& session) {
    if (session.inside != key) return;
    for (auto& message : std::exchange(session.withheld, {})) server_->send(session, *message);
  });
  if (task->running && task->options->output == OutputMode::STREAM) pool_.holdOutput(*task, false);
}

void Subscriptions::taskTooDeep(TaskId key) {
  server_->forEach([&](Session& session) {
    if (session.inside != key) return;
    for (const RequestId request : std::exchange(session.waiting, {})) {
      session.open.erase(request);
      ipc::Message message;
      writeError(Error(Code::tooDeep, "too many tasks wait inside each other (config parked)"), request,
                 message);
      server_->send(session, message);
    }
    // What it was attached to would never be collected.
    session.closing = true;
  });
}

void Subscriptions::sessionClosed(Session& session) {
  eventSessions_.erase(session.id);
  for (std::size_t i = session.waiting.size(); i > 0 && session.inside != 0; --i) {
    [[maybe_unused]] const bool goesOn = dispatcher_.endWait(session.inside);
  }
  std::vector<WaiterId> gone;
  for (const auto& [id, waiter] : waiters_) {
    if (waiter.session == session.id) gone.push_back(id);
  }
  for (const WaiterId id : gone) giveUp(id);
  std::erase_if(untilIdle_, [&](const Attachment& a) { return a.session == session.id; });
  for (const TaskId key : std::exchange(session.heldOutput, {})) release(session, key);
  cancelAttached(session);
  for (const auto& [number, request] : std::exchange(session.batches, {})) {
    attachedBatches_.erase(number);
    const Registry::Entry* entry = registry_.entry(number, session.uid);
    if (entry != nullptr && entry->batch) abandonBatch(*entry->batch);
  }
  dispatcher_.dispatch();
}

// There may be very many of them.
void Subscriptions::cancelAttached(Session& session) {
  if (session.attached.empty()) return;
  const auto keys = std::make_shared<std::unordered_set<TaskId>>(std::exchange(session.attached, {}));
  chores_.begin([this, keys, pause = dispatcher_.pauseStarts()] {
    for (std::size_t i = 0; i < kCancelsPerStep && !keys->empty(); ++i) {
      const TaskId key = keys->extract(keys->begin()).value();
      attachedTasks_.erase(key);
      if (Task* task = registry_.find(key)) cancelForClient(*task);
    }
    return !keys->empty();
  });
}

void Subscriptions::cancelForClient(Task& task) {
  dispatcher_.cancel(task, std::chrono::nanoseconds(task.options->graceNs), Cause::CLIENT_GONE, {});
}

// Nobody will add to it any more; an attached one is cancelled.
void Subscriptions::abandonBatch(Batch& batch) {
  if (!batch.attached) {
    dispatcher_.closeBatch(batch);
    return;
  }
  chores_.begin([this, number = batch.number, uid = batch.uid,
                 sweep = Sweep(registry_, batch.uid, batch.number),
                 pause = dispatcher_.pauseStarts()]() mutable {
    if (sweep.step([this](Task& task) { cancelForClient(task); })) return true;
    const Registry::Entry* entry = registry_.entry(number, uid);
    if (entry != nullptr && entry->batch) dispatcher_.closeBatch(*entry->batch);
    return false;
  });
}

void Subscriptions::daemonEvent(const std::string& text) {
  event(TaskEvent::Kind::DAEMON, nullptr, text);
}

void Subscriptions::event(TaskEvent::Kind kind, const Task* task, const std::string& text) {
  if (eventSessions_.empty()) return;
  for (const SessionId id : std::vector<SessionId>(eventSessions_.begin(), eventSessions_.end())) {
    if (Session* session = server_->find(id)) sendEvent(*session, kind, task, text);
  }
}

void Subscriptions::follow(Session& session, RequestId request, bool batchTasks) {
  session.events = request;
  session.eventsOfBatches = batchTasks;
  eventSessions_.insert(session.id);
}

void Subscriptions::sendEvent(Session& session, TaskEvent::Kind kind, const Task* task,
                              const std::string& text) {
  if (task != nullptr && (task->uid != session.uid || (task->batch != nullptr && !session.eventsOfBatches)))
    return;
  if (session.connection->unsentBytes() > kMaxUnsentBytes) {
    ++session.missedEvents;
    return;
  }
  ipc::Message message;
  message.frame().setId(session.events);
  auto event = message.frame().initTaskEvent();
  event.setKind(kind);
  event.setTimeNs(calendarNowNs());
  if (task != nullptr) writeRow(*task, Detail::row, event.initRow());
  if (!text.empty()) event.setText(text);
  server_->send(session, message);
}

}  // namespace baton::daemon
