#include "daemon/rows.h"

#include "daemon/assign.h"

namespace baton::daemon {
namespace {

void writeOutcome(const Outcome& outcome, ipc::wire::TaskRow::Builder row) {
  row.setCause(outcome.cause);
  row.setExitCode(outcome.exitCode);
  row.setSignal(outcome.signal);
  row.setCoreDumped(outcome.coreDumped);
  if (!outcome.detail.empty()) row.setDetail(outcome.detail);
  row.setWallNs(outcome.wallNs);
  row.setUserNs(outcome.userNs);
  row.setSystemNs(outcome.systemNs);
  row.setPeakBytes(outcome.peakBytes);
  row.setPeakIsUpperBound(outcome.peakIsUpperBound);
  row.setOutputBytes(outcome.outputBytes);
  if (!outcome.escaped.empty()) {
    auto escaped = row.initEscaped(static_cast<unsigned>(outcome.escaped.size()));
    for (unsigned i = 0; i < escaped.size(); ++i) escaped.set(i, outcome.escaped[i]);
  }
}

const char* nameOf(const Pool::Worker& worker) {
  switch (worker.state) {
    case Pool::Worker::State::starting:
      return "starting";
    case Pool::Worker::State::idle:
      return "idle";
    case Pool::Worker::State::running:
      return worker.parked ? "parked" : "running";
    case Pool::Worker::State::retiring:
      return "retiring";
  }
  return "";
}

}  // namespace

void writeRow(const Task& task, Detail detail, ipc::wire::TaskRow::Builder row) {
  row.setId(task.number);
  row.setBatch(task.batch != nullptr ? task.batch->number : 0);
  row.setIndex(task.index);
  row.setState(task.state);
  row.setAttempt(task.attempt);
  row.setUid(task.uid);
  row.setAttached(task.attached);
  row.setSubmittedNs(task.submittedNs);
  row.setStartedNs(task.startedNs);
  row.setEndedNs(task.endedNs);
  if (task.outcome && isEnd(task.state)) writeOutcome(*task.outcome, row);
  if (task.running) {
    row.setPid(task.running->pid);
    row.setWorker(task.running->worker);
    row.setSlot(task.running->slot);
    row.setParked(task.running->parked);
    row.setStopped(task.running->stopped);
  }
  if (detail == Detail::result) return;
  writeWords(task.argv, row.initArgv(static_cast<unsigned>(countWords(task.argv))));
  writeOptions(*task.options, row.initOptions());
  if (detail == Detail::all) {
    row.setCwd(task.context->get().getCwd());
    row.setEnvironment(task.context->get().getEnvironment());
  }
}

void writeRow(const Batch& batch, ipc::wire::BatchRow::Builder row) {
  row.setId(batch.number);
  writeOptions(*batch.options, row.initOptions());
  row.setUid(batch.uid);
  row.setClosed(batch.closed);
  row.setAttached(batch.attached);
  row.setTotal(batch.total);
  auto counts = row.initCounts(kStates);
  for (unsigned i = 0; i < kStates; ++i) counts.set(i, batch.counts[i]);
  row.setSubmittedNs(batch.submittedNs);
  row.setEndedNs(batch.endedNs);
  writeWords(batch.firstArgv, row.initSample(static_cast<unsigned>(countWords(batch.firstArgv))));
  row.setExitCode(batch.highestCode);
}

void writeRow(const Pool::Worker& worker, const Task* task, ipc::wire::WorkerRow::Builder row) {
  row.setId(worker.id);
  row.setPid(worker.pid);
  row.setUid(worker.uid);
  row.setRuntime("command");
  row.setState(nameOf(worker));
  row.setLane(worker.lane == Lane::io ? ipc::wire::Lane::IO : ipc::wire::Lane::CPU);
  row.setSlot(worker.slot);
  row.setTask(task != nullptr ? task->number : 0);
  row.setTasksRun(worker.tasksRun);
  row.setStartedNs(worker.startedNs);
}

}  // namespace baton::daemon
