// What workers report to the pool.
#include <sys/epoll.h>

#include <csignal>

#include "daemon/pool.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

// Frames of one worker served in a turn of the loop, so that a chatty task holds up nobody.
constexpr int kFramesPerTurn = 16;

Outcome outcomeOf(ipc::wire::WorkerEnded::Reader report) {
  Outcome outcome;
  outcome.cause = report.getCause();
  outcome.exitCode = report.getExitCode();
  outcome.signal = report.getSignal();
  outcome.coreDumped = report.getCoreDumped();
  outcome.detail = report.getDetail().cStr();
  outcome.wallNs = report.getWallNs();
  outcome.userNs = report.getUserNs();
  outcome.systemNs = report.getSystemNs();
  outcome.peakBytes = report.getPeakBytes();
  outcome.peakIsUpperBound = report.getPeakIsUpperBound();
  outcome.outputBytes = report.getOutputBytes();
  outcome.droppedBytes = report.getDroppedBytes();
  outcome.logNote = report.getLogNote().cStr();
  for (const auto pid : report.getEscaped()) outcome.escaped.push_back(pid);
  return outcome;
}

}  // namespace

void Pool::readable(WorkerId id) {
  const auto alive = [this, id]() -> Worker* {
    const auto found = workers_.find(id);
    return found == workers_.end() ? nullptr : found->second.get();
  };
  try {
    bool drained = false;  // the socket had no more than what was read
    for (int frames = 0; Worker* worker = alive();) {
      if (auto frame = worker->connection->next()) {
        handle(*worker, *frame);
        if (++frames >= kFramesPerTurn && byPid_.contains(worker->pid)) {
          // More may be buffered already: the socket alone would not say so.
          readAgain_.push_back(id);
          again_.enable(true);
          return;
        }
        continue;
      }
      if (drained) return;
      const auto input = worker->connection->receive();
      drained = input != ipc::Connection::Input::more;
      // Its end closed: it is dying. The kernel says when it is dead.
      if (input == ipc::Connection::Input::closed && worker->source) worker->source.setEvents(0);
    }
  } catch (const Error&) {
    if (Worker* worker = alive()) ::kill(worker->pid, SIGKILL);
  } catch (const kj::Exception&) {
    if (Worker* worker = alive()) ::kill(worker->pid, SIGKILL);
  }
}

void Pool::handle(Worker& worker, ipc::ReceivedFrame& received) {
  const auto frame = received.get();
  switch (frame.which()) {
    case ipc::wire::Frame::WORKER_READY:
      worker.ready = true;
      earlyDeaths_ = 0;
      if (worker.state == Worker::State::starting) {
        worker.state = Worker::State::idle;
        worker.idleSince = monotonicNow();
        events_->poolHasRoom();
      }
      return;
    case ipc::wire::Frame::STARTED:
      worker.started = true;
      events_->taskStarted(worker.task, frame.getStarted().getPid());
      return;
    case ipc::wire::Frame::STOPPED:
      events_->taskStopped(worker.task, frame.getStopped().getSignal());
      return;
    case ipc::wire::Frame::OUTPUT:
      events_->taskOutput(worker.task, frame.getOutput());
      return;
    case ipc::wire::Frame::SAMPLED:
      if (frame.getSampled().getTask() == worker.task) {
        events_->taskSampled(worker.task, frame.getSampled().getCpuNs(), frame.getSampled().getAsleep());
      }
      return;
    case ipc::wire::Frame::OVERFLOW_WANTED: {
      auto opened = logs_.openOverflow(worker.task);
      ipc::Message message;
      message.frame().setOverflowFile();
      if (opened.fd) message.attach(std::move(opened.fd));
      send(worker, message);
      return;
    }
    case ipc::wire::Frame::WORKER_ENDED:
      if (frame.getWorkerEnded().getTask() == worker.task && worker.task != 0)
        ended(worker, frame.getWorkerEnded());
      return;
    default:
      return;
  }
}

void Pool::ended(Worker& worker, ipc::wire::WorkerEnded::Reader report) {
  const TaskId task = worker.task;
  Outcome outcome = outcomeOf(report);
  if (worker.logging) {
    logs_.finish(task,
                 {report.getLogLength(), report.getOverflowStart(),
                  report.getOverflowStart() + report.getOverflowLength()},
                 outcome.logNote);
    worker.logging = false;
  }
  if (report.getHolder() != 0) holders_[report.getHolder()] = true;
  becameIdle(worker);
  events_->taskEnded(task, std::move(outcome));
}

}  // namespace baton::daemon
