#include "daemon/worker/task.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "ipc/error.h"

namespace baton::worker {
namespace {

using ipc::wire::Cause;
using ipc::wire::OutputMode;

constexpr int kNotStarted = 125;

std::uint64_t nanosecondsOf(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_usec) * 1000;
}

Outcome notStarted(const std::string& why) {
  return {Cause::SURROUNDINGS, kNotStarted, 0, false, why};
}

}  // namespace

Task::Task(const Equipment& equipment, ipc::wire::Assign::Reader assign, Context& context, shm::Fd parcel)
    : equipment_(equipment),
      output_(assign.getOptions().getOutput()),
      detach_(assign.getOptions().getDetachChildren()),
      foreground_(assign.getTerminal().getForeground()),
      slot_(assign.getSlot()),
      command_(assign, context),
      ladder_(assign.getOptions().getTimeLimitNs(), assign.getOptions().getGraceNs()),
      stream_(equipment.reporter),
      tree_(equipment.holders) {
  end_.task = assign.getTask();
  begin_ = Clock::now();
  if (parcel) arrival_.emplace(std::move(parcel), begin_);
}

void Task::begin() {
  if (output_ == OutputMode::PARCEL && !arrival_) {
    fail(notStarted("the task's descriptors did not come with it"));
    return;
  }
  arrive();
}

void Task::arrive() {
  if (arrival_) {
    const auto state = arrival_->step(Clock::now());
    if (state == Arrival::State::waiting) return;
    if (state == Arrival::State::failed) {
      fail(arrival_->failure());
      return;
    }
  }
  try {
    prepareStreams();
    launchCommand();
  } catch (const Error& error) {
    fail(notStarted(error.what()));
  }
  arrival_.reset();
}

void Task::prepareStreams() {
  auto& plan = command_.plan();
  if (arrival_) {
    for (int number = 0; number < 3; ++number) command_.useDescriptor(number, arrival_->descriptor(number));
    plan.terminal = arrival_->terminal();
    plan.foreground = foreground_;
    return;
  }
  command_.useDescriptor(0, equipment_.null);
  if (output_ == OutputMode::LOG)
    log_.emplace(equipment_.segment ? &*equipment_.segment : nullptr, equipment_.logLastBytes);
  pipes_.emplace(log_ ? static_cast<OutputSink&>(*log_) : stream_, equipment_.buffer);
  for (int number = 1; number < 3; ++number) {
    if (!command_.hasPath(number)) command_.useDescriptor(number, pipes_->open(number));
  }
}

void Task::launchCommand() {
  auto& plan = command_.plan();
  if (cgroup() != nullptr) cgroup()->fill(plan);
  equipment_.oom.reset();
  phase_ = Phase::running;
  begin_ = Clock::now();
  ladder_.started(begin_);
  if (detach_ || plan.terminal >= 0 || command_.mayBlockToOpen()) {
    monitor_.emplace(plan, equipment_.stack, Monitor::Options{detach_, equipment_.descriptors});
    return;
  }
  const Launched launched = launch(plan, equipment_.stack);
  if (launched.failure.step == Step::none) {
    commandStarted(launched.pid);
    return;
  }
  if (launched.pid > 0) ::waitpid(launched.pid, nullptr, 0);
  fail(command_.explain(launched.failure));
}

void Task::commandStarted(pid_t pid) {
  pid_ = pid;
  equipment_.reporter.started(end_.task, pid, slot_);
  if (output_ == OutputMode::STREAM) readFrom_ = equipment_.reporter.due();  // one wakeup for both
  for (const auto& [number, main] : std::exchange(earlySignals_, {})) signal(number, main);
}

// It did not start. Without a monitor there is nothing to be ended.
void Task::fail(const Outcome& outcome) {
  end_.outcome = outcome;
  commandEnded_ = true;
  beginEnding();
  if (!monitor_) finishTree();
}

void Task::addTo(PollSet& polls) const {
  if (arrival_) polls.add(arrival_->fd(), POLLIN);
  if (monitor_ && !monitor_->closed()) polls.add(monitor_->fd(), POLLIN);
  const bool reading = phase_ == Phase::running || phase_ == Phase::ending;
  if (pipes_ && reading && readFrom_ <= Clock::now()) pipes_->addTo(polls);
}

Time Task::deadline() const {
  if (phase_ == Phase::arriving) return arrival_ ? arrival_->deadline() : kNever;
  if (phase_ == Phase::ending) return tree_.deadline();
  if (phase_ == Phase::draining && pipes_ && pipes_->canRead()) return Time{};  // at once
  if (phase_ != Phase::running) return kNever;
  const Time reading = pipes_ && readFrom_ > Clock::now() ? readFrom_ : kNever;
  return std::min(ladder_.deadline(), reading);
}

void Task::handle(const PollSet& polls) {
  if (phase_ == Phase::arriving) {
    arrive();
  } else if (monitor_ && polls.ready(monitor_->fd())) {
    handleMonitor();
  }
  if (phase_ == Phase::draining) {
    drain();
  } else if (pipes_ && (phase_ == Phase::running || phase_ == Phase::ending)) {
    pipes_->read(polls);
    askForOverflow();
  }
}

void Task::timePassed() {
  if (phase_ == Phase::running) climb(ladder_.timePassed(Clock::now()));
}

void Task::handleMonitor() {
  while (monitor_) {
    const auto event = monitor_->next();
    if (!event) return;
    handleEvent(*event);
  }
}

void Task::handleEvent(const MonitorEvent& event) {
  switch (event.kind) {
    case MonitorEvent::Kind::started:
      commandStarted(event.pid);
      return;
    case MonitorEvent::Kind::failed:
      fail(command_.explain(event.failure));
      return;
    case MonitorEvent::Kind::stopped:
      commandStopped(event.status);
      return;
    case MonitorEvent::Kind::continued:
      ladder_.continued(Clock::now());
      return;
    case MonitorEvent::Kind::ended:
      break;
  }
  end_.userNs += static_cast<std::uint64_t>(event.userNs);
  end_.systemNs += static_cast<std::uint64_t>(event.systemNs);
  end_.peakBytes = std::max(end_.peakBytes, event.peakBytes);
  const bool killed = phase_ == Phase::ending;
  commandEnded(event.status);
  if (detach_ && !killed) releaseHolder(event.stays);
}

// What the command left behind lives on, under a process that is not this task's any more.
void Task::releaseHolder(bool stays) {
  equipment_.holders.push_back(monitor_->pid());
  end_.holder = stays ? monitor_->pid() : 0;
  monitor_.reset();
  finishTree();
}

void Task::childChanged(pid_t pid, int status, const rusage& used) {
  const bool ended = WIFEXITED(status) || WIFSIGNALED(status);
  if (monitor_ && pid == monitor_->pid()) {
    handleMonitor();
    if (ended && !commandEnded_) monitorLost();
    return;
  }
  if (ended) count(used);
  if (pid != pid_ || monitor_) return;
  if (WIFSTOPPED(status)) {
    commandStopped(WSTOPSIG(status));
  } else if (WIFCONTINUED(status)) {
    ladder_.continued(Clock::now());
  } else {
    commandEnded(status);
  }
}

// Nobody is left who could say how the command ends: it ends now.
void Task::monitorLost() {
  commandEnded_ = true;
  end_.wallNs = nanoseconds(Clock::now() - begin_);
  end_.outcome = {Cause::SIGNALLED, 0, SIGKILL, false, ""};
  if (ladder_.cause() != Cause::NONE) {
    end_.outcome.cause = ladder_.cause();
  } else if (!killSent_) {
    end_.outcome.detail = "the process that baton had set over the command was killed";
  }
  if (phase_ == Phase::running) beginEnding();
}

void Task::commandStopped(int signal) {
  ladder_.stopped(Clock::now());
  equipment_.reporter.stopped(end_.task, signal);
}

bool Task::struckByOom() {
  const bool ofItsOwn = cgroup() != nullptr && cgroup()->countsMemory();
  return ofItsOwn ? cgroup()->oomStruck() : equipment_.oom.struck();
}

void Task::commandEnded(int status) {
  commandEnded_ = true;
  end_.wallNs = nanoseconds(Clock::now() - begin_);
  auto& outcome = end_.outcome;
  if (WIFEXITED(status)) {
    outcome = {Cause::EXITED, WEXITSTATUS(status), 0, false, ""};
  } else {
    outcome = {Cause::SIGNALLED, 0, WTERMSIG(status), WCOREDUMP(status) != 0, ""};
    if (outcome.signal == SIGKILL && !killSent_ && struckByOom()) outcome.cause = Cause::OOM;
  }
  if (ladder_.cause() != Cause::NONE) outcome.cause = ladder_.cause();
  if (phase_ == Phase::running) beginEnding();
}

void Task::beginEnding() {
  phase_ = Phase::ending;
  tree_.begin(Clock::now(), cgroup());
}

void Task::childrenSeen(bool noChildren) {
  noChildren_ = noChildren;
  if (phase_ == Phase::ending) endTree();
}

void Task::endTree() {
  const auto state = tree_.step(noChildren_, Clock::now());
  if (state == TreeEnd::State::busy) return;
  end_.escaped = tree_.remaining();
  if (state == TreeEnd::State::unkillable) {
    end_.outcome.cause = Cause::UNKILLABLE;
    end_.outcome.detail = "still there 60 s after KILL";
  } else if (!commandEnded_) {
    end_.outcome.cause = ladder_.cause();
    end_.outcome.signal = SIGKILL;
  }
  finishTree();
}

void Task::finishTree() {
  phase_ = Phase::draining;
  monitor_.reset();
  if (pipes_) pipes_->closeWriters();
  drain();
}

void Task::askForOverflow() {
  if (log_ && log_->takeOverflowWish()) equipment_.reporter.overflowWanted();
}

void Task::drain() {
  const bool read = !pipes_ || pipes_->drain();
  askForOverflow();
  if (read && !(log_ && log_->waitsForOverflow())) report();
}

void Task::report() {
  phase_ = Phase::done;
  if (const auto peak = cgroup() != nullptr ? cgroup()->peak() : std::nullopt) {
    end_.peakBytes = peak->bytes;
    end_.peakIsUpperBound = peak->upperBound;
  }
  end_.outputBytes = stream_.outputBytes();
  if (log_) {
    end_.logLength = log_->segmentBytes();
    end_.overflowLength = log_->overflowBytes();
    end_.overflowStart = log_->overflowStart();
    end_.outputBytes = log_->outputBytes();
    end_.droppedBytes = log_->droppedBytes();
    end_.logNote = end_.outputBytes > 0 ? log_->note() : "";
  }
  equipment_.reporter.ended(end_);
}

void Task::count(const rusage& used) {
  end_.userNs += nanosecondsOf(used.ru_utime);
  end_.systemNs += nanosecondsOf(used.ru_stime);
  end_.peakBytes = std::max(end_.peakBytes, static_cast<std::uint64_t>(used.ru_maxrss) * 1024);
}

}  // namespace baton::worker
