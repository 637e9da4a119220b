#include "daemon/worker/reporter.h"

#include <algorithm>

namespace baton::worker {

void Reporter::send(ipc::Message& message, Duration delay) {
  daemon_.send(message);
  due_ = std::min(due_, Clock::now() + delay);
}

void Reporter::flush() {
  due_ = kNever;
  blocked_ = !daemon_.flush();
}

void Reporter::ready() {
  ipc::Message message;
  message.frame().setWorkerReady();
  send(message);
}

void Reporter::started(std::uint64_t task, pid_t pid, std::uint32_t slot) {
  ipc::Message message;
  auto started = message.frame().initStarted();
  started.setTask(task);
  started.setPid(pid);
  started.setSlot(slot);
  send(message, kGatherTime);
}

void Reporter::stopped(std::uint64_t task, int signal) {
  ipc::Message message;
  auto stopped = message.frame().initStopped();
  stopped.setTask(task);
  stopped.setSignal(signal);
  send(message);
}

void Reporter::output(std::uint8_t stream, std::string_view bytes) {
  ipc::Message message;
  auto output = message.frame().initOutput();
  output.setStream(stream);
  output.setData({reinterpret_cast<const capnp::byte*>(bytes.data()), bytes.size()});
  send(message);
}

void Reporter::overflowWanted() {
  ipc::Message message;
  message.frame().setOverflowWanted();
  send(message);
}

void Reporter::sampled(std::uint64_t task, std::uint64_t cpuNs, bool asleep) {
  ipc::Message message;
  auto sampled = message.frame().initSampled();
  sampled.setTask(task);
  sampled.setCpuNs(cpuNs);
  sampled.setAsleep(asleep);
  send(message);
}

void Reporter::ended(const TaskEnd& end) {
  ipc::Message message;
  auto ended = message.frame().initWorkerEnded();
  ended.setTask(end.task);
  ended.setCause(end.outcome.cause);
  ended.setExitCode(end.outcome.exitCode);
  ended.setSignal(end.outcome.signal);
  ended.setCoreDumped(end.outcome.coreDumped);
  ended.setDetail(end.outcome.detail);
  ended.setWallNs(end.wallNs);
  ended.setUserNs(end.userNs);
  ended.setSystemNs(end.systemNs);
  ended.setPeakBytes(end.peakBytes);
  ended.setPeakIsUpperBound(end.peakIsUpperBound);
  ended.setLogLength(end.logLength);
  ended.setOverflowLength(end.overflowLength);
  ended.setOverflowStart(end.overflowStart);
  ended.setOutputBytes(end.outputBytes);
  ended.setDroppedBytes(end.droppedBytes);
  ended.setLogNote(end.logNote);
  auto escaped = ended.initEscaped(static_cast<unsigned>(end.escaped.size()));
  for (unsigned i = 0; i < escaped.size(); ++i) escaped.set(i, end.escaped[i]);
  ended.setHolder(end.holder);
  send(message);
}

}  // namespace baton::worker
