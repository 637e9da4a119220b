// Requests that change what is there.
#include <climits>
#include <csignal>
#include <memory>

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
  sweep(
      session, request, Sweep(parts_.registry, session.uid, asked.getSelection(), Sweep::Kind::unfinished),
      [this, grace, reason, pause = parts_.dispatcher.pauseStarts()](Task& task) {
        const std::uint64_t ns =
            grace > static_cast<std::uint64_t>(LLONG_MAX) ? task.options->graceNs : grace;
        parts_.dispatcher.cancel(task, std::chrono::nanoseconds(ns), Cause::CANCELLED, reason);
      },
      [this, asker = askerOf(session, request)] { ok(asker); });
}

void Requests::kill(Session& session, RequestId request, ipc::wire::KillRequest::Reader asked) {
  const int signal = asked.getSignal();
  if (signal < 1 || signal >= NSIG) throw Error(Code::usage, "no signal " + std::to_string(signal));
  Sweep tasks(parts_.registry, session.uid, asked.getSelection(), Sweep::Kind::every);
  const auto check = [everything = tasks.everything()](const Task& task) {
    if (task.running || everything || task.batch != nullptr) return;
    throw Error(Code::refused, "task " + labelOf(task) + " does not run; `cancel` ends one that waits");
  };
  const auto send = [this, signal, main = asked.getMain()](Task& task) {
    parts_.dispatcher.signal(task, signal, main);
  };
  work(session, request,
       [this, check, send, tasks, checked = false, asker = askerOf(session, request)]() mutable {
         if (!checked) {
           checked = !tasks.step(check);
           if (checked) tasks.rewind();
           return true;
         }
         if (tasks.step(send)) return true;
         ok(asker);
         return false;
       });
}

void Requests::hold(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  const auto any = std::make_shared<bool>(selection.getAll());
  sweep(
      session, request, Sweep(parts_.registry, session.uid, selection, Sweep::Kind::unfinished),
      [this, any, pause = parts_.dispatcher.pauseStarts()](Task& task) {
        *any = parts_.dispatcher.hold(task) || *any;
      },
      [this, any, asker = askerOf(session, request)] {
        if (!*any) throw Error(Code::refused, "nothing of it is queued; only queued tasks can be held");
        ok(asker);
      });
}

void Requests::release(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  const auto any = std::make_shared<bool>(selection.getAll());
  sweep(
      session, request, Sweep(parts_.registry, session.uid, selection, Sweep::Kind::unfinished),
      [this, any](Task& task) { *any = parts_.dispatcher.release(task) || *any; },
      [this, any, asker = askerOf(session, request)] {
        if (!*any) throw Error(Code::refused, "nothing of it is held");
        ok(asker);
      });
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
