// Requests that change what is there.
#include <climits>
#include <csignal>

#include "daemon/requests.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

// A sentence: each cancelled task keeps a copy.
constexpr std::size_t kMaxReasonBytes = 256;

}  // namespace

void Requests::cancel(Session& session, RequestId request, ipc::wire::CancelRequest::Reader asked) {
  const std::uint64_t grace = asked.getGraceNs();
  const std::string reason = std::string(asked.getReason().cStr()).substr(0, kMaxReasonBytes);
  for (const TaskId key : tasksOf(session, asked.getSelection(), true)) {
    Task* task = parts_.registry.find(key);
    if (task == nullptr) continue;
    const std::uint64_t ns = grace > static_cast<std::uint64_t>(LLONG_MAX) ? task->options->graceNs : grace;
    parts_.dispatcher.cancel(*task, std::chrono::nanoseconds(ns), Cause::CANCELLED, reason);
  }
  ok(session, request);
  parts_.dispatcher.dispatch();
}

void Requests::kill(Session& session, RequestId request, ipc::wire::KillRequest::Reader asked) {
  if (asked.getSignal() < 1 || asked.getSignal() >= NSIG) {
    throw Error(Code::usage, "no signal " + std::to_string(asked.getSignal()));
  }
  const auto keys = tasksOf(session, asked.getSelection(), false);
  for (const TaskId key : keys) {
    const Task& task = *parts_.registry.find(key);
    if (!task.running && !asked.getSelection().getAll() && task.batch == nullptr) {
      throw Error(Code::refused, "task " + labelOf(task) + " does not run; `cancel` ends one that waits");
    }
  }
  for (const TaskId key : keys) {
    parts_.dispatcher.signal(*parts_.registry.find(key), asked.getSignal(), asked.getMain());
  }
  ok(session, request);
}

void Requests::hold(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  const auto keys = tasksOf(session, selection, true);
  bool any = false;
  for (const TaskId key : keys) any = parts_.dispatcher.hold(*parts_.registry.find(key)) || any;
  if (!any && !selection.getAll())
    throw Error(Code::refused, "nothing of it is queued; only queued tasks can be held");
  ok(session, request);
}

void Requests::release(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  const auto keys = tasksOf(session, selection, true);
  bool any = false;
  for (const TaskId key : keys) {
    Task* task = parts_.registry.find(key);
    any = (task != nullptr && parts_.dispatcher.release(*task)) || any;
  }
  if (!any && !selection.getAll()) throw Error(Code::refused, "nothing of it is held");
  ok(session, request);
}

void Requests::drain(Session& session, RequestId request, bool wait) {
  parts_.control.setDraining(true);
  if (!wait) {
    ok(session, request);
    return;
  }
  parts_.subscriptions.open(session, request, true);
  parts_.subscriptions.waitUntilIdle(session, request);
}

void Requests::reload(Session& session, RequestId request) {
  const auto lines = parts_.control.reload();
  ipc::Message message;
  auto list = message.frame().initReloaded(static_cast<unsigned>(lines.size()));
  for (unsigned i = 0; i < lines.size(); ++i) list.set(i, lines[i]);
  reply(session, request, message);
}

void Requests::continueTask(Session& session, RequestId request, ipc::wire::Continue::Reader order) {
  Registry::Entry* entry = parts_.registry.entry(order.getTask(), session.uid);
  if (entry == nullptr || entry->task == nullptr) {
    throw Error(Code::unknownId, "no task " + std::to_string(order.getTask()));
  }
  parts_.dispatcher.continueStopped(*entry->task, order.getForeground());
  ok(session, request);
}

}  // namespace baton::daemon
