#include "daemon/worker/worker.h"

#include <fcntl.h>
#include <kj/exception.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>

#include "ipc/error.h"

namespace baton::worker {
namespace {

constexpr std::uint8_t kHasParcel = 1;
constexpr std::uint8_t kHasSegment = 2;

std::string textOf(capnp::Data::Reader bytes) {
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

shm::Fd childSignals() {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGCHLD);
  shm::Fd fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) throwErrno("cannot wait for signals");
  return fd;
}

}  // namespace

Worker::Worker(shm::Fd daemon, shm::Fd segment, std::uint64_t logLastBytes)
    : daemon_(std::move(daemon), {.maxFrameBytes = kMaxDaemonFrameBytes}),
      reporter_(daemon_),
      own_(ipc::captureSurroundings()),
      oom_(OomCounter::ofSelf()),
      logLastBytes_(logLastBytes),
      signals_(childSignals()),
      null_(::open("/dev/null", O_RDWR | O_CLOEXEC)),
      buffer_(new char[kReadBytes]) {
  if (!null_) throwErrno("cannot open /dev/null");
  if (segment) segment_.emplace(std::move(segment));
}

Equipment Worker::equipment() {
  return {reporter_,
          stack_,
          oom_,
          segment_,
          logLastBytes_,
          holders_,
          {buffer_.get(), kReadBytes},
          null_.get(),
          {daemon_.fd(), signals_.get(), -1, -1},
          nullptr};
}

TaskCgroup* Worker::enterCgroup(const std::string& path) {
  if (path.empty()) return nullptr;
  renewCgroup();
  try {
    if (!cgroup_ || cgroup_->path() != path) {
      cgroup_.reset();
      cgroup_ = std::make_unique<TaskCgroup>(path);
    }
    cgroup_->begin();
  } catch (const Error& error) {
    noCgroup(error);
    return nullptr;
  }
  cgroupUsed_ = true;
  return cgroup_.get();
}

void Worker::renewCgroup() {
  if (!std::exchange(cgroupUsed_, false)) return;
  try {
    cgroup_->renew();
  } catch (const Error& error) {
    noCgroup(error);
  }
}

// Its tasks run all the same: they end as where no cgroups are to be had.
void Worker::noCgroup(const Error& why) {
  cgroup_.reset();
  if (!std::exchange(cgroupMissed_, true)) std::fprintf(stderr, "baton-worker: %s\n", why.what());
}

int Worker::run() {
  try {
    reporter_.ready();
    while (!gone_ && !(retired_ && !task_ && daemon_.unsentBytes() == 0)) turn();
  } catch (const Error&) {
    // It sends what no daemon of ours does: that comes to the same as if it were gone.
    gone_ = true;
  } catch (const kj::Exception&) {
    gone_ = true;
  }
  if (gone_) abandonTask();
  return 0;
}

Time Worker::deadline() const {
  return std::min(reporter_.due(), task_ ? task_->deadline() : kNever);
}

void Worker::turn() {
  if (reporter_.due() <= Clock::now()) reporter_.flush();
  if (!task_) renewCgroup();  // now that the end of its task is reported
  polls_.clear();
  polls_.add(daemon_.fd(), static_cast<short>(POLLIN | (reporter_.blocked() ? POLLOUT : 0)));
  polls_.add(signals_.get(), POLLIN);
  if (task_) task_->addTo(polls_);
  polls_.wait(deadline());

  // Ends first: a cancel that comes with the end of its task came too late.
  if (polls_.ready(signals_.get())) clearSignals();
  if (polls_.ready(signals_.get()) || (task_ && task_->isEnding())) waitForChildren();
  if (task_) task_->handle(polls_);
  if (polls_.ready(daemon_.fd())) {
    if (reporter_.blocked()) reporter_.flush();
    receive();
  }
  if (task_) task_->timePassed();
  if (task_ && task_->done()) {
    retired_ = retired_ || task_->leftProcesses();
    task_.reset();
  }
}

void Worker::clearSignals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) < 0 && errno == EINTR) {
  }
}

void Worker::waitForChildren() {
  int status = 0;
  rusage used{};
  pid_t pid = 0;
  while ((pid = ::wait4(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL, &used)) > 0) {
    const bool ended = WIFEXITED(status) || WIFSIGNALED(status);
    const auto holder = std::find(holders_.begin(), holders_.end(), pid);
    if (holder != holders_.end()) {
      if (ended) holders_.erase(holder);
    } else if (task_) {
      task_->childChanged(pid, status, used);
    }
  }
  if (task_) task_->childrenSeen(pid < 0);
}

void Worker::receive() {
  auto input = ipc::Connection::Input::more;
  while (input == ipc::Connection::Input::more) {
    input = daemon_.receive();
    while (auto frame = daemon_.next()) handleFrame(*frame);
  }
  gone_ = input == ipc::Connection::Input::closed;
}

void Worker::handleFrame(ipc::ReceivedFrame& frame) {
  using ipc::wire::Frame;
  switch (frame.get().which()) {
    case Frame::ASSIGN:
      assign(frame);
      return;
    case Frame::OVERFLOW_FILE:
      if (task_) task_->giveOverflow(frame.fds.empty() ? shm::Fd() : std::move(frame.fds[0]));
      return;
    case Frame::HOLD_OUTPUT:
      reporter_.hold(frame.get().getHoldOutput());
      if (task_) task_->outputWanted();
      return;
    case Frame::RETIRE:
      retired_ = true;
      return;
    case Frame::SAMPLE:
      if (task_) {
        task_->sample();
      } else {
        reporter_.sampled(0, 0, true);
      }
      return;
    default:
      if (task_) handleTaskFrame(frame.get());
      return;
  }
}

// Those that name a task: another one than this has ended already.
void Worker::handleTaskFrame(ipc::wire::Frame::Reader frame) {
  using ipc::wire::Frame;
  if (frame.isCancelTask()) {
    const auto cancel = frame.getCancelTask();
    if (cancel.getTask() == task_->id()) task_->cancel(cancel.getGraceNs(), cancel.getCause());
  } else if (frame.isSignalTask()) {
    const auto signal = frame.getSignalTask();
    if (signal.getTask() == task_->id()) task_->signal(signal.getSignal(), signal.getMain());
  } else if (frame.isContinueRunning()) {
    const auto resume = frame.getContinueRunning();
    if (resume.getTask() == task_->id()) task_->resume(resume.getForeground());
  }
}

void Worker::assign(ipc::ReceivedFrame& frame) {
  const auto assign = frame.get().getAssign();
  if (task_ && task_->done()) task_.reset();
  if (task_) throw Error(Code::protocol, "a second task at a time");
  std::size_t taken = 0;
  const auto take = [&](std::uint8_t bit) {
    if ((assign.getDescriptors() & bit) == 0) return shm::Fd();
    if (taken == frame.fds.size()) throw Error(Code::protocol, "a descriptor is missing");
    return std::move(frame.fds[taken++]);
  };
  auto parcel = take(kHasParcel);
  auto segment = take(kHasSegment);
  if (segment) segment_.emplace(std::move(segment));
  const auto context = assign.getContext();
  if (context.isInline()) {
    context_ = std::make_unique<Context>(context.getInline(), own_);
  } else if (!context.isSame() || !context_) {
    throw Error(Code::protocol, "a task without a context");
  }
  reporter_.hold(false);  // the daemon may have held the output of a task that was ending
  auto equipped = equipment();
  equipped.cgroup = enterCgroup(textOf(assign.getCgroup()));
  task_ = std::make_unique<Task>(equipped, assign, *context_, std::move(parcel));
  task_->begin();
}

void Worker::abandonTask() {
  std::vector<pid_t> spared = holders_;
  if (task_ && task_->sparedHolder() != 0) {
    // It sees the end of its line, and ends its command by itself.
    spared.push_back(task_->sparedHolder());
    task_.reset();
  }
  TreeEnd tree(spared);
  tree.begin(Clock::now(), task_ ? task_->cgroup() : nullptr);
  for (;;) {
    pid_t pid = 0;
    while ((pid = ::wait4(-1, nullptr, WNOHANG | __WALL, nullptr)) > 0) std::erase(spared, pid);
    if (tree.step(pid < 0, Clock::now()) != TreeEnd::State::busy) return;
    polls_.clear();
    polls_.add(signals_.get(), POLLIN);
    polls_.wait(tree.deadline());
    clearSignals();
  }
}

}  // namespace baton::worker
