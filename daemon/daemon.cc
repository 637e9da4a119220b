#include "daemon/daemon.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "daemon/cgroup_delegation.h"
#include "daemon/logout.h"
#include "daemon/slots.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

// After the bound of a stop: what is left of a task's grace, at most.
constexpr std::chrono::nanoseconds kStopGrace = std::chrono::seconds(5);
// Beyond that no worker is waited for.
constexpr std::chrono::nanoseconds kKillAfter = std::chrono::seconds(10);
// The IO lane's commands, where no cgroup weighs them: nice 10 is about a tenth of nice 0.
constexpr unsigned kIoNice = 10;

Retention retentionOf(const Config& config) {
  Retention retention;
  retention.entries = config.finishedKeep;
  retention.age = config.finishedAge;
  retention.bytes = config.finishedBytes;
  return retention;
}

ServerLimits serverLimits(const Config& config) {
  ServerLimits limits;
  limits.connections = config.connections;
  limits.inFlightBytes = config.inFlightBytes;
  limits.frameBytes = config.frameBytes;
  limits.frameFds = config.frameFds;
  limits.descriptors = config.descriptors;
  limits.ringBytes = config.ringBytes;
  return limits;
}

SchedulerOptions schedulerOptions(const Config& config, unsigned slots) {
  SchedulerOptions options;
  options.slots = slots;
  options.ioPerUid = static_cast<unsigned>(config.ioTasks);
  options.quantum = config.quantum;
  options.parkedPerUid = static_cast<unsigned>(config.parked);
  return options;
}

QueueLimits queueLimits(const Config& config) {
  return {.queues = config.queues, .bytes = config.queueBytes};
}

std::uint64_t ownResidentBytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  file >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

PoolOptions Daemon::poolOptions() const {
  const Config& config = config_.values();
  PoolOptions options;
  options.workerProgram = options_.workerProgram;
  options.socketPath = options_.places.socketPath;
  options.slots = scheduler_.slots();
  options.maxTasks = config.workerMaxTasks;
  options.maxMemory = config.workerMaxMemory;
  options.idle = config.workerIdle;
  options.ioNice = kIoNice;
  options.cgroups = &cgroups_;
  return options;
}

Daemon::Daemon(Loop& loop, const Log& log, const DaemonOptions& options)
    : loop_(loop),
      log_(log),
      options_(options),
      config_(LoadedConfig::load(options.configFile, options.dropInDirectory)),
      startedAt_(monotonicNow()),
      cgroups_(options.places.stateDirectory),
      ids_(options.places.stateDirectory),
      logs_({options.places.stateDirectory + "/logs", config_.values().logTotal, config_.values().logPerTask,
             true, [this](shm::Fd fd) { closer_.close(std::move(fd)); }}),
      registry_(ids_, retentionOf(config_.values())),
      scheduler_(schedulerOptions(config_.values(), countSlots(config_.values().slots).slots)),
      pool_(loop, logs_, poolOptions()),
      reaper_(loop, pool_),
      contexts_(config_.values().contextBytes, Powers::ofThisProcess()),
      dispatcher_({loop, registry_, scheduler_, pool_, store_}),
      chores_(loop),
      subscriptions_({registry_, dispatcher_, pool_, chores_}),
      queues_({loop, subscriptions_}, queueLimits(config_.values())),
      locks_({loop, subscriptions_, closer_, options.places.stateDirectory}),
      objects_(subscriptions_),
      requests_({loop, registry_, scheduler_, dispatcher_, pool_, contexts_, logs_, closer_, subscriptions_,
                 *this, chores_, objects_}),
      socket_(loop, options.places),
      server_(loop, requests_, closer_, {serverLimits(config_.values()), [uid = ::getuid()](Uid peer) {
                                           return peer == uid || peer == 0;
                                         }}) {
  ids_.prepare();
  slotsReason_ = countSlots(config_.values().slots).reason;
  makeCgroups();
  options_.places.socketPath = socket_.path();
  pool_.setOptions(poolOptions());
  pool_.setEvents(dispatcher_);
  dispatcher_.setObserver(subscriptions_);
  subscriptions_.setServer(server_);
  requests_.setServer(server_);
  queues_.setServer(server_);
  objects_.add(queues_);
  locks_.setServer(server_);
  locks_.setLimit(config_.values().locks);
  objects_.add(locks_);
  registry_.onDrop = [this](const Task& task) { logs_.forget(task.key); };
  registry_.onDropBatch = [this] { dropBatches(); };
  reaper_.onChange = [this] { finishIfDone(); };
  socket_.onRenewed = [this](shm::Fd fresh) {
    log_.write(Priority::warning, "the socket was removed; made again at " + socket_.path());
    server_.listen(std::move(fresh));
    options_.places.socketPath = socket_.path();
    pool_.setOptions(poolOptions());
  };
  turnEnd_ = loop_.onPost([this] { endOfTurn(); });
  turnEnd_.enable(true);
  idleTimer_ = loop_.onTimer([this] { idleTimeout(); });
  endTimer_ = loop_.onTimer([this] { end_ == End::draining ? cancelAll() : endNow(); });
  tidy_ = loop_.onIdle([this] {
    logs_.tidy();
    tidy_.enable(logs_.busy());
  });
  statusTimer_ = loop_.onTimer([this] { tellSystemd(); });
  ageTimer_ = loop_.onTimer([this] {
    registry_.dropAged(monotonicNow());
    ageWatched_ = false;
  });
  for (const int signal : {SIGTERM, SIGINT}) {
    signals_.push_back(loop_.onSignal(signal, [this] { stop(stopping_); }));
  }
  signals_.push_back(loop_.onSignal(SIGHUP, [this] {
    try {
      for (const auto& line : reload()) log_.write(Priority::notice, "reload: " + line);
    } catch (const Error& error) {
      log_.write(Priority::error, std::string("reload: ") + error.what());
    }
  }));
  server_.listen(socket_.take());
  pool_.warmUp();
  watchIdle();
}

Daemon::~Daemon() {
  dispatcher_.freeze();
}

int Daemon::run() {
  loop_.answerWatchdog();
  ::sd_notify(0, "READY=1");
  tellSystemd();
  return loop_.run();
}

void Daemon::makeCgroups() {
  const CgroupFacts facts = cgroupFacts(options_.delegated);
  whyNoCgroups_ = config_.values().cgroups ? whyNotDelegated(facts) : "cgroups = false in the configuration";
  if (!whyNoCgroups_.empty()) return;
  if (!cgroups_.make(facts.directory, options_.guard->pid)) {
    whyNoCgroups_ = "none could be made";
  } else {
    options_.guard->tellCgroups(cgroups_.base());
  }
}

std::string Daemon::treeEnd() const {
  const std::string subreapers = options_.guard->pid != 0 ? "worker, daemon and guard are subreapers"
                                                          : "worker and daemon are subreapers";
  if (!cgroups_.made()) return subreapers + " and kill what is left (no cgroups: " + whyNoCgroups_ + ")";
  return "the cgroup of each task is killed, below " + cgroups_.base() + "; " + subreapers +
         " and kill what has left it";
}

void Daemon::endOfTurn() {
  pool_.flush();
  server_.flush();
  pool_.flush();
  watchIdle();
  watchAge();
  if (logs_.busy()) tidy_.enable(true);
  if (stopping_) finishIfDone();
}

void Daemon::watchIdle() {
  const bool idle = registry_.unfinished() == 0 && server_.size() == 0 && objects_.count() == 0;
  if (idle == idle_) return;
  idle_ = idle;
  if (notifies_) statusTimer_.arm(std::chrono::seconds(1));
  if (!idle) return;
  // A timer that is armed is left so: it looks how long it has been idle when it fires. Most calls make the
  // daemon busy and idle again, and to set it costs two calls of the system.
  idleSince_ = monotonicNow();
  if (!idleArmed_) armIdleTimer();
}

void Daemon::dropBatches() {
  if (std::exchange(dropping_, true)) return;
  chores_.begin([this] { return dropping_ = registry_.dropSome(); });
}

void Daemon::armIdleTimer() {
  const auto after = config_.values().idleExit;
  idleArmed_ = after.count() > 0;
  if (idleArmed_) idleTimer_.arm(idleSince_ + after - monotonicNow());
}

void Daemon::idleTimeout() {
  idleArmed_ = false;
  if (!idle_) return;
  if (monotonicNow() - idleSince_ >= config_.values().idleExit) {
    stop(true);
  } else {
    armIdleTimer();
  }
}

void Daemon::watchAge() {
  const auto due = registry_.nextDrop();
  if (ageWatched_ || !due) return;
  ageWatched_ = true;
  ageTimer_.arm(std::max(std::chrono::nanoseconds::zero(), *due - monotonicNow()));
}

void Daemon::tellSystemd() {
  if (!notifies_) return;
  const std::string text = "running " + std::to_string(registry_.count(State::RUNNING)) + ", waiting " +
                           std::to_string(scheduler_.queued()) + "; slots " +
                           std::to_string(scheduler_.slots());
  if (text != lastStatus_) {
    lastStatus_ = text;
    ::sd_notify(0, ("STATUS=" + text).c_str());
  }
  if (!idle_) statusTimer_.arm(std::chrono::seconds(1));
}

void Daemon::setDraining(bool draining) {
  if (draining_ != draining)
    subscriptions_.daemonEvent(draining ? "drained: no new work is taken" : "resumed");
  draining_ = draining;
}

void Daemon::stop(bool now) {
  if (!stopping_) {
    stopping_ = true;
    setDraining(true);
    // As long as the bounds of the end below, one after the other; the unit's own time-out may be shorter.
    const auto longest = config_.values().stopTimeout + kStopGrace + 2 * kKillAfter;
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(longest).count();
    ::sd_notify(0, ("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + std::to_string(micros)).c_str());
    subscriptions_.daemonEvent("stopping");
    log_.write(Priority::notice, "stopping");
    end_ = End::draining;
    endTimer_.arm(config_.values().stopTimeout);
  }
  if (now && end_ == End::draining) cancelAll();
  // The turn that this is part of ends with finishIfDone.
}

void Daemon::cancelAll() {
  end_ = End::cancelling;
  endTimer_.arm(kStopGrace + kKillAfter);
  dispatcher_.freeze();
  chores_.begin([this, sweep = Sweep(registry_)]() mutable {
    const bool more = sweep.step([this](Task& task) {
      const auto grace = std::min(kStopGrace, std::chrono::nanoseconds(task.options->graceNs));
      dispatcher_.cancel(task, grace, Cause::DAEMON_STOPPED, "the daemon was stopped");
    });
    if (!more) finishIfDone();
    return more;
  });
}

void Daemon::finishIfDone() {
  if (end_ == End::no || end_ == End::killing || registry_.unfinished() > 0) {
    if (end_ == End::killing && reaper_.nothingLeft()) loop_.exit(0);
    return;
  }
  endNow();
}

void Daemon::endNow() {
  if (end_ == End::killing) {
    // Something cannot be killed: the guard or the kernel will see to it.
    loop_.exit(1);
    return;
  }
  end_ = End::killing;
  dispatcher_.freeze();
  socket_.remove();
  server_.flush();
  pool_.killAll();
  endTimer_.arm(kKillAfter);
  if (reaper_.nothingLeft()) loop_.exit(0);
}

std::vector<std::string> Daemon::reload() {
  const LoadedConfig fresh = LoadedConfig::load(options_.configFile, options_.dropInDirectory);
  auto lines = diffConfig(config_.values(), fresh.values());
  config_ = fresh;
  const Config& config = config_.values();
  const SlotCount count = countSlots(config.slots);
  slotsReason_ = count.reason;
  scheduler_.setSlots(count.slots, monotonicNow());
  pool_.setOptions(poolOptions());
  registry_.setRetention(retentionOf(config));
  ageWatched_ = false;
  contexts_.setLimit(config.contextBytes);
  logs_.setLimits(config.logTotal, config.logPerTask);
  queues_.setLimits(queueLimits(config));
  locks_.setLimit(config.locks);
  server_.setLimits(serverLimits(config));
  idleTimer_.disarm();
  idleArmed_ = false;
  idle_ = false;
  watchIdle();
  dispatcher_.dispatch();
  return lines;
}

void Daemon::fillStatus(ipc::wire::Status::Builder status) const {
  status.setVersion(BATON_VERSION);
  objects_.fillStatus(status);
  status.setPid(::getpid());
  status.setUptimeNs(static_cast<std::uint64_t>((monotonicNow() - startedAt_).count()));
  status.setSlots(scheduler_.slots());
  status.setSlotsReason(slotsReason_);
  status.setSlotsUsed(scheduler_.used());
  status.setSlotsOver(scheduler_.over());
  status.setIoRunning(scheduler_.ioRunning(::getuid()));
  status.setIoLimit(static_cast<std::uint32_t>(config_.values().ioTasks));
  status.setQueued(registry_.count(State::QUEUED));
  status.setHeld(registry_.count(State::HELD));
  status.setRunning(registry_.count(State::RUNNING));
  status.setParked(scheduler_.parked());
  status.setFinishedKept(registry_.finishedEntries());
  status.setSubmittedEver(registry_.submittedEver());
  status.setEndedEver(registry_.endedEver());
  status.setWorkers(static_cast<std::uint32_t>(pool_.size()));
  status.setWorkersLost(pool_.lost());
  status.setWorkersStarted(pool_.started());
  status.setDraining(draining_);
  status.setStopping(stopping_);
  status.setContexts(static_cast<std::uint32_t>(contexts_.size()));
  status.setContextBytes(contexts_.bytes());
  status.setLogBytes(logs_.usedBytes());
  status.setLogLimitBytes(logs_.totalBytes());
  status.setRssBytes(ownResidentBytes());
  status.setTreeEnd(treeEnd());
  auto all = options_.notes;
  all.insert(all.end(), cgroups_.notes().begin(), cgroups_.notes().end());
  auto notes = status.initNotes(static_cast<unsigned>(all.size()));
  for (unsigned i = 0; i < notes.size(); ++i) notes.set(i, all[i]);
  status.setSocket(socket_.path());
  status.setStateDirectory(options_.places.stateDirectory);
  status.setMode("user");
  status.setStrays(reaper_.straysEnded());
}

std::string Daemon::noticeOnce() {
  return std::exchange(noticed_, true) ? "" : logoutNotice();
}

}  // namespace baton::daemon
