#include "daemon/pool.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <utility>

#include "daemon/spawn.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

// A worker that dies before it is ready will do so again at once: a moment of air, doubled up to some
// seconds.
constexpr std::chrono::nanoseconds kFirstBackOff = std::chrono::milliseconds(100);
constexpr unsigned kMaxBackOffDoublings = 6;
// IO workers kept for the next tasks: more would be memory that nobody uses, fewer a start per task.
constexpr unsigned kIdleIoWorkers = 8;
// Its RSS is looked at once in so many tasks.
constexpr std::uint64_t kMemoryCheckEvery = 64;

std::uint64_t residentBytes(std::int32_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/statm", pid);
  const shm::Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  if (!file || ::read(file.get(), text.data(), text.size() - 1) <= 0) return 0;
  unsigned long long size = 0;
  unsigned long long resident = 0;
  if (std::sscanf(text.data(), "%llu %llu", &size, &resident) != 2) return 0;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::string newSecret() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throwErrno("cannot get random bytes");
  }
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace

Pool::Pool(Loop& loop, LogStore& logs, const PoolOptions& options)
    : loop_(loop), logs_(logs), options_(options) {
  backOffTimer_ = loop_.onTimer([this] {
    backingOff_ = false;
    events_->poolHasRoom();
  });
  idleTimer_ = loop_.onTimer([this] { idleTimeout(); });
  again_ = loop_.onTurn([this] {
    for (const WorkerId id : std::exchange(readAgain_, {})) readable(id);
  });
}

Pool::~Pool() = default;

bool Pool::canStart(Lane lane) const {
  if (!backingOff_) return true;
  return std::any_of(workers_.begin(), workers_.end(), [lane](const auto& entry) {
    return entry.second->state == Worker::State::idle && entry.second->lane == lane;
  });
}

unsigned Pool::holdingOrIdle() const {
  unsigned count = 0;
  for (const auto& [id, worker] : workers_) {
    const bool counts =
        worker->lane == Lane::cpu && !worker->parked && worker->state != Worker::State::retiring;
    count += counts ? worker->slots : 0;
  }
  return count;
}

void Pool::makeRoom(Lane lane, const Worker* except) {
  if (lane == Lane::io) return;
  while (holdingOrIdle() > options_.slots) {
    Worker* oldest = nullptr;
    for (auto& [id, worker] : workers_) {
      if (worker.get() == except || worker->state != Worker::State::idle || worker->lane != lane) continue;
      if (oldest == nullptr || worker->idleSince < oldest->idleSince) oldest = worker.get();
    }
    if (oldest == nullptr) return;
    retire(*oldest);
  }
}

Pool::Worker& Pool::spawn(Lane lane) {
  auto worker = std::make_unique<Worker>();
  worker->id = ++lastId_;
  worker->lane = lane;
  worker->startedNs = calendarNowNs();
  auto spawned = spawnWorker(
      options_.workerProgram,
      {"baton-worker", "--socket-fd=3", "--id=" + std::to_string(worker->id),
       lane == Lane::io ? "--lane=io" : "--lane=cpu", "--log-last=" + std::to_string(logs_.lastBytes())});
  ++startedCount_;
  worker->pid = spawned.pid;
  worker->connection = std::make_unique<ipc::Connection>(std::move(spawned.socket),
                                                         ipc::Intake{.maxFrameBytes = kMaxWorkerFrameBytes});
  worker->source =
      loop_.onIo(worker->connection->fd(), EPOLLIN, [this, id = worker->id](std::uint32_t events) {
        if ((events & EPOLLOUT) != 0) markDirty(id);
        readable(id);
      });
  byPid_[worker->pid] = worker->id;
  Worker& result = *worker;
  workers_[worker->id] = std::move(worker);
  makeRoom(lane, &result);
  return result;
}

void Pool::warmUp() {
  try {
    spawn(Lane::cpu);
  } catch (const Error&) {
    backOff();
  }
}

Pool::Worker& Pool::obtain(Lane lane) {
  // The one that was busy last is the warmest; one that starts still will be ready sooner than a new one.
  Worker* best = nullptr;
  Worker* starting = nullptr;
  for (auto& [id, worker] : workers_) {
    if (worker->lane != lane || worker->dead) continue;
    if (worker->state == Worker::State::starting) starting = worker.get();
    if (worker->state != Worker::State::idle) continue;
    if (best == nullptr || worker->idleSince > best->idleSince) best = worker.get();
  }
  if (best != nullptr) return *best;
  return starting != nullptr ? *starting : spawn(lane);
}

void Pool::start(Task& task, unsigned slot, shm::Fd& parcel) {
  task.running = std::make_unique<Running>();
  task.running->slot = slot;
  task.running->secret = newSecret();
  Worker& worker = obtain(task.options->lane);
  worker.slot = slot;
  task.running->worker = worker.id;
  assign(worker, task, parcel);
}

shm::Fd Pool::openLog(Worker& worker, Task& task) {
  shm::Fd fresh;
  std::string note;
  if (worker.segment == 0 || logs_.full(worker.segment)) {
    if (worker.segment != 0) logs_.closeSegment(worker.segment);
    auto opened = logs_.openSegment();
    worker.segment = opened.file;
    fresh = std::move(opened.fd);
    note = std::move(opened.note);
  }
  logs_.begin(task.key, worker.segment, note);
  worker.logging = true;
  return fresh;
}

AssignOptions Pool::assignOptions(const Worker& worker, const Task& task) const {
  AssignOptions how;
  how.socketPath = options_.socketPath;
  how.sameContext = worker.context == task.context;
  // What is meant to outlive its task belongs to no cgroup that ends with it.
  if (!task.options->detachChildren) how.cgroup = cgroupOf(worker.id);
  const bool weighed = !how.cgroup.empty() && options_.cgroups->weighsLanes();
  how.ioNice = task.options->lane == Lane::io && !weighed ? options_.ioNice : 0;
  return how;
}

void Pool::assign(Worker& worker, Task& task, shm::Fd& parcel) {
  ipc::Message message;
  writeAssign(task, assignOptions(worker, task), message);
  std::uint8_t descriptors = 0;
  if (parcel) {
    message.attach(std::move(parcel));
    descriptors |= 1;
  }
  worker.logging = false;
  if (task.options->output == OutputMode::LOG) {
    if (shm::Fd segment = openLog(worker, task)) {
      message.attach(std::move(segment));
      descriptors |= 2;
    }
  }
  message.frame().getAssign().setDescriptors(descriptors);
  worker.state = Worker::State::running;
  worker.context = task.context;
  worker.task = task.key;
  worker.uid = task.uid;
  worker.slots = task.options->slots;
  worker.started = false;
  makeRoom(worker.lane, &worker);
  send(worker, message);
}

void Pool::send(Worker& worker, ipc::Message& message) {
  worker.connection->send(message);
  markDirty(worker.id);
}

void Pool::markDirty(WorkerId id) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || found->second->dirty) return;
  found->second->dirty = true;
  dirty_.push_back(id);
}

void Pool::flush() {
  for (const WorkerId id : dirty_) {
    const auto found = workers_.find(id);
    if (found == workers_.end()) continue;
    Worker& worker = *found->second;
    worker.dirty = false;
    try {
      const bool all = worker.connection->flush();
      worker.source.setEvents(all ? EPOLLIN : EPOLLIN | EPOLLOUT);
    } catch (const Error&) {
      // It is dead or dying: the kernel will say so.
      worker.source.setEvents(0);
    }
  }
  dirty_.clear();
}

Pool::Worker* Pool::find(const Task& task) {
  if (!task.running) return nullptr;
  const auto found = workers_.find(task.running->worker);
  return found == workers_.end() || found->second->task != task.key ? nullptr : found->second.get();
}

void Pool::cancel(const Task& task, std::chrono::nanoseconds grace, Cause cause) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  ipc::Message message;
  auto cancel = message.frame().initCancelTask();
  cancel.setTask(task.key);
  cancel.setGraceNs(static_cast<std::uint64_t>(std::max<std::int64_t>(0, grace.count())));
  cancel.setCause(cause);
  send(*worker, message);
}

void Pool::signal(const Task& task, int signal, bool mainOnly) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  ipc::Message message;
  auto order = message.frame().initSignalTask();
  order.setTask(task.key);
  order.setSignal(signal);
  order.setMain(mainOnly);
  send(*worker, message);
}

void Pool::continueStopped(const Task& task, bool foreground) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  ipc::Message message;
  auto order = message.frame().initContinueRunning();
  order.setTask(task.key);
  order.setForeground(foreground);
  send(*worker, message);
}

void Pool::sample(const Task& task) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  ipc::Message message;
  message.frame().setSample();
  send(*worker, message);
}

void Pool::holdOutput(const Task& task, bool hold) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  ipc::Message message;
  message.frame().setHoldOutput(hold);
  send(*worker, message);
}

void Pool::setParked(const Task& task, bool parked) {
  Worker* worker = find(task);
  if (worker == nullptr) return;
  worker->parked = parked;
  if (!parked) makeRoom(worker->lane, worker);
}

void Pool::retire(Worker& worker) {
  worker.state = Worker::State::retiring;
  ipc::Message message;
  message.frame().setRetire();
  send(worker, message);
}

void Pool::recycle() {
  for (auto& [id, worker] : workers_) {
    if (worker->state == Worker::State::idle) {
      retire(*worker);
    } else {
      worker->recycle = true;
    }
  }
}

void Pool::killAll() {
  ending_ = true;
  for (auto& [id, worker] : workers_) ::kill(worker->pid, SIGKILL);
}

void Pool::becameIdle(Worker& worker) {
  worker.task = 0;
  worker.slots = 1;
  worker.parked = false;
  worker.state = Worker::State::idle;
  worker.idleSince = monotonicNow();
  ++worker.tasksRun;
  const bool tooMany = options_.maxTasks > 0 && worker.tasksRun >= options_.maxTasks;
  const bool tooLarge = options_.maxMemory > 0 && worker.tasksRun % kMemoryCheckEvery == 0 &&
                        residentBytes(worker.pid) > options_.maxMemory;
  unsigned idleIo = 0;
  for (const auto& [id, other] : workers_) {
    idleIo += other->lane == Lane::io && other->state == Worker::State::idle ? 1 : 0;
  }
  if (worker.recycle || tooMany || tooLarge || (worker.lane == Lane::io && idleIo > kIdleIoWorkers)) {
    retire(worker);
  } else {
    makeRoom(worker.lane, nullptr);
    if (options_.idle.count() > 0) idleTimer_.arm(options_.idle);
  }
}

void Pool::idleTimeout() {
  const auto now = monotonicNow();
  bool left = false;
  for (auto& [id, worker] : workers_) {
    if (worker->state != Worker::State::idle) continue;
    if (now - worker->idleSince >= options_.idle) {
      retire(*worker);
    } else {
      left = true;
    }
  }
  if (left) idleTimer_.arm(options_.idle);
}

void Pool::backOff() {
  const unsigned doublings = std::min(earlyDeaths_, kMaxBackOffDoublings);
  ++earlyDeaths_;
  backingOff_ = true;
  backOffTimer_.arm(kFirstBackOff * (1U << doublings));
}

bool Pool::isHolder(std::int32_t pid) const {
  return holders_.contains(pid);
}

std::string Pool::cgroupOf(WorkerId id) const {
  const auto found = workers_.find(id);
  if (options_.cgroups == nullptr || found == workers_.end()) return {};
  return options_.cgroups->directoryOf(found->second->lane, id);
}

WorkerId Pool::reaped(std::int32_t pid, int code, int status) {
  holders_.erase(pid);
  const auto found = byPid_.find(pid);
  if (found == byPid_.end()) return 0;
  const WorkerId id = found->second;
  byPid_.erase(found);
  // What it said before it died still counts.
  readable(id);
  Worker& worker = *workers_.at(id);
  worker.dead = true;
  worker.source.reset();
  worker.death = code == CLD_EXITED ? "exited with code " + std::to_string(status)
                                    : "was killed by signal " + std::to_string(status);
  return id;
}

void Pool::bury(WorkerId id, std::vector<std::int32_t> escaped) {
  const auto found = workers_.find(id);
  if (found == workers_.end()) return;
  const std::unique_ptr<Worker> worker = std::move(found->second);
  workers_.erase(found);
  if (worker->segment != 0) logs_.closeSegment(worker->segment);
  const bool expected = worker->state == Worker::State::retiring;
  if (!expected) ++lostCount_;
  if (ending_) return;
  if (!worker->ready && !expected) backOff();
  if (worker->task != 0) {
    if (worker->logging) logs_.finishLost(worker->task);
    events_->taskLost(worker->task, worker->ready, worker->death, std::move(escaped));
  }
  const bool refill = worker->ready && !expected && worker->lane == Lane::cpu;
  if (refill && !backingOff_ && holdingOrIdle() < options_.slots) {
    // The pool is as large as before, at once.
    try {
      spawn(worker->lane);
    } catch (const Error&) {
      backOff();
    }
  }
  events_->poolHasRoom();
}

std::vector<const Pool::Worker*> Pool::list() const {
  std::vector<const Worker*> result;
  result.reserve(workers_.size());
  for (const auto& [id, worker] : workers_) result.push_back(worker.get());
  return result;
}

}  // namespace baton::daemon
