#include "daemon/requests.h"

#include "ipc/error.h"

namespace baton::daemon {
namespace {

std::string nameOf(ipc::wire::TaskRef::Reader ref) {
  std::string name = std::to_string(ref.getId());
  if (ref.getIndex() != 0) name += "." + std::to_string(ref.getIndex());
  return name;
}

// A frame that gets no reply.
bool isNote(ipc::wire::Frame::Reader frame) {
  return frame.isQueueTaken() || frame.isLockReturned();
}

}  // namespace

void Requests::handle(Session& session, ipc::ReceivedFrame& received) {
  const Frame frame = received.get();
  const RequestId request = frame.getId();
  if (session.greeted && isNote(frame)) {
    parts_.objects.handle(session, 0, received);
    return;
  }
  if (request == 0 || request >= std::uint64_t{1} << 53) {
    throw Error(Code::protocol, "a request without an id");
  }
  if (!session.greeted && !frame.isHello()) {
    throw Error(Code::protocol, "the first frame must be hello");
  }
  try {
    const bool known = handleTasks(session, request, received) || handleQueries(session, request, frame) ||
                       handleControl(session, request, frame) ||
                       parts_.objects.handle(session, request, received);
    if (!known) throw Error(Code::usage, "this daemon does not know that request");
  } catch (const Error& error) {
    if (error.code() == Code::protocol) throw;
    auto message = std::make_unique<ipc::Message>();
    writeError(error, request, *message);
    parts_.subscriptions.finish(session, request, std::move(message));
  }
}

void Requests::closed(Session& session) {
  parts_.objects.closed(session);
  parts_.subscriptions.sessionClosed(session);
}

bool Requests::handleTasks(Session& session, RequestId request, ipc::ReceivedFrame& received) {
  const Frame frame = received.get();
  switch (frame.which()) {
    case ipc::wire::Frame::HELLO:
      hello(session, request, frame.getHello());
      return true;
    case ipc::wire::Frame::PING:
      ok(session, request);
      return true;
    case ipc::wire::Frame::SUBMIT:
      submit(session, request, received);
      return true;
    case ipc::wire::Frame::OPEN_BATCH:
      openBatch(session, request, received);
      return true;
    case ipc::wire::Frame::ADD_TASKS:
      addTasks(session, request, received);
      return true;
    case ipc::wire::Frame::RETRY:
      retry(session, request, frame.getRetry());
      return true;
    default:
      return false;
  }
}

bool Requests::handleQueries(Session& session, RequestId request, Frame frame) {
  switch (frame.which()) {
    case ipc::wire::Frame::LIST:
      list(session, request, frame.getList());
      return true;
    case ipc::wire::Frame::SHOW:
      show(session, request, frame.getShow());
      return true;
    case ipc::wire::Frame::EXPLAIN:
      explain(session, request, frame.getExplain());
      return true;
    case ipc::wire::Frame::WAIT:
      wait(session, request, frame.getWait());
      return true;
    case ipc::wire::Frame::LOGS:
      logs(session, request, frame.getLogs().getRef());
      return true;
    case ipc::wire::Frame::EVENTS:
      parts_.subscriptions.follow(session, request, frame.getEvents().getBatchTasks());
      return true;
    case ipc::wire::Frame::STATUS:
      status(session, request);
      return true;
    case ipc::wire::Frame::WORKERS:
      workers(session, request);
      return true;
    case ipc::wire::Frame::CONFIG:
      config(session, request);
      return true;
    default:
      return false;
  }
}

bool Requests::handleControl(Session& session, RequestId request, Frame frame) {
  switch (frame.which()) {
    case ipc::wire::Frame::CANCEL:
      cancel(session, request, frame.getCancel());
      return true;
    case ipc::wire::Frame::KILL:
      kill(session, request, frame.getKill());
      return true;
    case ipc::wire::Frame::HOLD:
      hold(session, request, frame.getHold());
      return true;
    case ipc::wire::Frame::RELEASE:
      release(session, request, frame.getRelease());
      return true;
    case ipc::wire::Frame::RECYCLE_WORKERS:
      parts_.pool.recycle();
      ok(session, request);
      return true;
    case ipc::wire::Frame::DRAIN:
      drain(session, request, frame.getDrain());
      return true;
    case ipc::wire::Frame::RESUME:
      if (parts_.control.stopping()) throw Error(Code::refused, "the daemon is stopping");
      parts_.control.setDraining(false);
      ok(session, request);
      return true;
    case ipc::wire::Frame::STOP:
      ok(session, request);
      parts_.control.stop(frame.getStop().getNow());
      return true;
    case ipc::wire::Frame::RELOAD:
      reload(session, request);
      return true;
    case ipc::wire::Frame::CONTINUE_TASK:
      continueTask(session, request, frame.getContinueTask());
      return true;
    default:
      return false;
  }
}

void Requests::ok(Session& session, RequestId request) {
  ipc::Message message;
  message.frame().setOk();
  reply(session, request, message);
}

void Requests::reply(Session& session, RequestId request, ipc::Message& message) {
  message.frame().setId(request);
  server_->send(session, message);
}

Requests::Target Requests::resolve(const Session& session, ipc::wire::TaskRef::Reader ref) {
  Registry::Entry* entry = parts_.registry.entry(ref.getId(), session.uid);
  if (entry == nullptr) throw Error(Code::unknownId, "no task or batch " + nameOf(ref));
  if (ref.getIndex() == 0) return {entry->task, entry->batch.get()};
  if (!entry->batch || ref.getIndex() > entry->batch->tasks.added()) {
    throw Error(Code::unknownId, "no task " + nameOf(ref));
  }
  Task* task = entry->batch->tasks.at(ref.getIndex());
  if (task == nullptr) {
    throw Error(Code::unknownId, "the record of task " + nameOf(ref) + " is not kept any more");
  }
  return {task, nullptr};
}

void Requests::ok(const Asker& asker) {
  ipc::Message message;
  message.frame().setOk();
  reply(asker, message);
}

void Requests::reply(const Asker& asker, ipc::Message& message) {
  if (Session* session = server_->find(asker.session)) reply(*session, asker.request, message);
}

void Requests::refuse(const Asker& asker, const Error& error) {
  Session* session = server_->find(asker.session);
  if (session == nullptr) return;
  auto message = std::make_unique<ipc::Message>();
  writeError(error, asker.request, *message);
  parts_.subscriptions.finish(*session, asker.request, std::move(message));
}

void Requests::work(Session& session, RequestId request, Chores::Step step) {
  const Asker asker = askerOf(session, request);
  const bool done = parts_.chores.begin([this, asker, step = std::move(step)] {
    try {
      if (step()) return true;
    } catch (const Error& error) {
      if (error.code() == Code::protocol) server_->fault(asker.session);
      refuse(asker, error);
    } catch (const kj::Exception&) {
      server_->fault(asker.session);
    }
    Session* known = server_->find(asker.session);
    if (known != nullptr && known->busy) server_->resume(*known);
    return false;
  });
  Session* known = server_->find(asker.session);
  if (!done && known != nullptr) server_->pause(*known);
}

void Requests::sweep(Session& session, RequestId request, Sweep sweep, Visit visit,
                     std::function<void()> finish) {
  work(session, request,
       [sweep = std::move(sweep), visit = std::move(visit), finish = std::move(finish)]() mutable {
         if (sweep.step(visit)) return true;
         finish();
         return false;
       });
}

}  // namespace baton::daemon
