// What the daemon asks of a running task.
#include <unistd.h>

#include <csignal>

#include "daemon/worker/task.h"

namespace baton::worker {
namespace {

using ipc::wire::Cause;

// Signals that came before the command: more than a person sends.
constexpr std::size_t kMaxEarlySignals = 16;

}  // namespace

Excluded Task::notOurs() const {
  Excluded excluded;
  excluded.whole = equipment_.holders;
  if (monitor_) excluded.alone.push_back(monitor_->pid());
  return excluded;
}

void Task::climb(EndLadder::Rung rung) {
  if (rung == EndLadder::Rung::terminate) {
    signalDescendants(SIGTERM, notOurs());
    signalDescendants(SIGCONT, notOurs());
  } else if (rung == EndLadder::Rung::kill) {
    killSent_ = true;
    noChildren_ = false;
    beginEnding();
    endTree();
  }
}

void Task::cancel(std::uint64_t graceNs, Cause cause) {
  if (phase_ == Phase::arriving) {
    fail({cause, 0, 0, false, "before its command had started"});
  } else if (phase_ == Phase::running) {
    climb(ladder_.cancel(Clock::now(), graceNs, cause));
  }
}

void Task::signal(int signal, bool main) {
  if (phase_ == Phase::arriving || (phase_ == Phase::running && pid_ == 0)) {
    if (earlySignals_.size() < kMaxEarlySignals) earlySignals_.emplace_back(signal, main);
    return;
  }
  if (phase_ != Phase::running) return;
  killSent_ = killSent_ || signal == SIGKILL;
  if (!main) {
    signalDescendants(signal, notOurs());
  } else if (monitor_) {
    signalChildOf(monitor_->pid(), pid_, signal);
  } else {
    ::kill(pid_, signal);
  }
}

void Task::resume(bool foreground) {
  if (phase_ != Phase::running || pid_ == 0) return;
  if (monitor_) {
    monitor_->resume(foreground);
  } else {
    ::killpg(pid_, SIGCONT);
  }
}

void Task::sample() {
  const std::uint64_t tickNs = 1'000'000'000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  std::uint64_t cpuNs = end_.userNs + end_.systemNs;
  bool asleep = true;
  for (const auto& process : glanceAtDescendants(notOurs())) {
    cpuNs += process.ticks * tickNs;
    asleep = asleep && !isRunnable(process);
  }
  if (const auto exact = cgroup() != nullptr ? cgroup()->cpuNs() : std::nullopt) cpuNs = *exact;
  equipment_.reporter.sampled(end_.task, cpuNs, asleep);
}

void Task::outputWanted() {
  if (phase_ == Phase::draining) drain();
}

void Task::giveOverflow(shm::Fd file) {
  if (!log_) return;
  log_->giveOverflow(std::move(file));
  if (phase_ == Phase::draining) drain();
}

}  // namespace baton::worker
