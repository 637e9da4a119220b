// Drives a real baton-worker over a socket pair, as the daemon does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ipc/connection.h"
#include "ipc/error.h"
#include "ipc/surroundings.h"
#include "shm/fd.h"

namespace baton::worker::test {

using ipc::wire::Cause;
using ipc::wire::OutputMode;
using namespace std::chrono_literals;

// Longer than anything here takes on a loaded machine; a test that reaches it has failed.
inline constexpr auto kPatience = 60s;

// Waits until `condition` holds, looking every few milliseconds.
inline bool eventually(const std::function<bool()>& condition, std::chrono::seconds patience = kPatience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

inline std::string readText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  // Not by an iterator: that throws where a process in /proc ends meanwhile.
  for (char part[4096]; file.read(part, sizeof(part)) || file.gcount() > 0;) {
    text.append(part, static_cast<std::size_t>(file.gcount()));
  }
  return text;
}

// What `seq 1 LAST` prints.
inline std::string numbersTo(int last) {
  std::string text;
  for (int i = 1; i <= last; ++i) text += std::to_string(i) + "\n";
  return text;
}

// A directory that is removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "baton-worker-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throwErrno("mkdtemp");
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// True if the process is there and no zombie.
inline bool alive(pid_t pid) {
  const auto stat = readText("/proc/" + std::to_string(pid) + "/stat");
  const auto at = stat.rfind(')');
  return at != std::string::npos && stat[at + 2] != 'Z';
}

inline char stateOf(pid_t pid) {
  const auto stat = readText("/proc/" + std::to_string(pid) + "/stat");
  const auto at = stat.rfind(')');
  return at == std::string::npos ? '-' : stat[at + 2];
}

// While a process is in exec it has no environment for a moment, as kernel threads and zombies never have.
inline std::string environmentOf(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/environ";
  std::string text;
  // Whoever was started with an empty one is asked so often.
  for (int tries = 0; text.empty() && tries < 100 && ::access(path.c_str(), R_OK) == 0; ++tries) {
    text = readText(path);
    if (!text.empty() || stateOf(pid) == 'Z') break;
    std::error_code error;
    [[maybe_unused]] const auto program =
        std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/exe", error);
    if (error) break;
    ::sched_yield();
  }
  return text;
}

// Those whose environment holds `word`, zombies not counted.
inline std::vector<pid_t> processesWith(const std::string& word) {
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid > 0 && environmentOf(pid).find(word) != std::string::npos) pids.push_back(pid);
  }
  return pids;
}

struct TaskSpec {
  std::vector<std::string> argv;
  OutputMode output = OutputMode::STREAM;
  std::function<void(ipc::wire::Assign::Builder)> edit;
  std::optional<ipc::Surroundings> context;  // none: that of the test, or the last one again
  shm::Fd parcel;
  shm::Fd segment;
};

// What workerEnded said.
struct Ended {
  std::uint64_t task = 0;
  Cause cause = Cause::NONE;
  int exitCode = -1;
  int signal = -1;
  std::string detail;
  std::uint64_t wallNs = 0;
  std::uint64_t cpuNs = 0;
  std::uint64_t peakBytes = 0;
  bool peakIsUpperBound = false;
  std::uint64_t logLength = 0;
  std::uint64_t overflowLength = 0;
  std::uint64_t overflowStart = 0;
  std::uint64_t outputBytes = 0;
  std::uint64_t droppedBytes = 0;
  std::string logNote;
  std::vector<pid_t> escaped;
  pid_t holder = 0;
};

class WorkerProcess {
 public:
  struct Options {
    shm::Fd log;
    std::function<void()> before;  // runs in the child before exec
  };

  WorkerProcess() : WorkerProcess(Options{}) {}
  explicit WorkerProcess(Options options) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) throwErrno("socketpair");
    // Orphans of a worker that a test kills come here, so that none is lost.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_ = ::fork();
    if (pid_ == 0) {
      const int log = options.log ? ::fcntl(options.log.get(), F_DUPFD, 10) : -1;
      ::dup2(ends[1], 3);
      if (ends[1] == 3) ::fcntl(3, F_SETFD, 0);
      if (log >= 0) ::dup2(log, 4);
      if (options.before) options.before();
      ::execl(BATON_WORKER_PATH, BATON_WORKER_PATH, "--socket-fd=3", "--id=1", "--lane=cpu",
              log >= 0 ? "--log-fd=4" : static_cast<char*>(nullptr), static_cast<char*>(nullptr));
      ::_exit(99);
    }
    ::close(ends[1]);
    connection_.emplace(shm::Fd(ends[0]), ipc::Intake{.maxFrameBytes = std::size_t{8} << 20});
    waitFor([](auto frame) { return frame.isWorkerReady(); });
  }
  ~WorkerProcess() {
    connection_.reset();
    if (!reaped_) ::waitpid(pid_, nullptr, 0);
  }
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  pid_t pid() const { return pid_; }
  // The daemon's end is gone.
  void disconnect() { connection_.reset(); }
  // The worker's wait status; it must end by itself.
  int waitForExit() {
    int status = 0;
    EXPECT_TRUE(eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }));
    reaped_ = true;
    return status;
  }

  void send(ipc::Message& message) {
    connection_->send(message);
    while (!connection_->flush()) {
      pollfd poll{connection_->fd(), POLLOUT, 0};
      ::poll(&poll, 1, 1000);
    }
  }

  std::uint64_t assign(TaskSpec spec) {
    out.clear();
    err.clear();
    started.reset();
    stops.clear();
    ipc::Message message;
    auto assign = message.frame().initAssign();
    assign.setTask(++lastTask_);
    assign.setLabel(std::to_string(lastTask_));
    assign.setAttempt(1);
    assign.setSlot(1);
    assign.setSlots(1);
    assign.setSecret("0123456789abcdef");
    auto argv = assign.initArgv(static_cast<unsigned>(spec.argv.size()));
    for (unsigned i = 0; i < argv.size(); ++i) argv.set(i, bytes(spec.argv[i]));
    assign.initOptions().setOutput(spec.output);
    if (spec.context || !contextSent_) {
      ipc::writeContext(spec.context ? *spec.context : ipc::captureSurroundings(),
                        assign.initContext().initInline());
      contextSent_ = true;
    } else {
      assign.initContext().setSame();
    }
    assign.setDescriptors(static_cast<std::uint8_t>((spec.parcel ? 1 : 0) | (spec.segment ? 2 : 0)));
    if (spec.edit) spec.edit(assign);
    if (spec.parcel) message.attach(std::move(spec.parcel));
    if (spec.segment) message.attach(std::move(spec.segment));
    send(message);
    return lastTask_;
  }

  Ended run(TaskSpec spec) {
    assign(std::move(spec));
    return waitForEnd();
  }
  Ended run(std::vector<std::string> argv) {
    TaskSpec spec;
    spec.argv = std::move(argv);
    return run(std::move(spec));
  }
  Ended shell(const std::string& line) { return run({"/bin/sh", "-c", line}); }
  std::uint64_t assignShell(const std::string& line) {
    TaskSpec spec;
    spec.argv = {"/bin/sh", "-c", line};
    return assign(std::move(spec));
  }

  pid_t waitForStart() {
    if (!started) waitFor([](auto frame) { return frame.isStarted(); });
    return started.value_or(0);
  }
  // The signal of the next stop that is not yet seen.
  int waitForStop() {
    if (stops.empty()) waitFor([](auto frame) { return frame.isStopped(); });
    if (stops.empty()) return 0;
    const int signal = stops.front();
    stops.erase(stops.begin());
    return signal;
  }
  // Until the task has printed `text` on stdout.
  void waitForOutput(const std::string& text) {
    while (out.find(text) == std::string::npos && waitFor([](auto frame) { return frame.isOutput(); })) {
    }
  }
  void waitForOverflowWish() {
    waitFor([](auto frame) { return frame.isOverflowWanted(); });
  }
  std::optional<std::pair<std::uint64_t, bool>> sample() {
    ipc::Message message;
    message.frame().setSample();
    send(message);
    std::optional<std::pair<std::uint64_t, bool>> result;
    waitFor([&](auto frame) {
      if (frame.isSampled()) result.emplace(frame.getSampled().getCpuNs(), frame.getSampled().getAsleep());
      return frame.isSampled();
    });
    return result;
  }
  Ended waitForEnd() {
    Ended result;
    waitFor([&](ipc::wire::Frame::Reader frame) {
      if (!frame.isWorkerEnded()) return false;
      result = read(frame.getWorkerEnded());
      return true;
    });
    return result;
  }

  void cancel(std::uint64_t graceNs, Cause cause = Cause::CANCELLED) {
    ipc::Message message;
    auto cancel = message.frame().initCancelTask();
    cancel.setTask(lastTask_);
    cancel.setGraceNs(graceNs);
    cancel.setCause(cause);
    send(message);
  }
  void signal(int number, bool main) {
    ipc::Message message;
    auto signal = message.frame().initSignalTask();
    signal.setTask(lastTask_);
    signal.setSignal(number);
    signal.setMain(main);
    send(message);
  }
  void resume(bool foreground) {
    ipc::Message message;
    auto resume = message.frame().initContinueRunning();
    resume.setTask(lastTask_);
    resume.setForeground(foreground);
    send(message);
  }
  void giveOverflow(shm::Fd file) {
    ipc::Message message;
    message.frame().setOverflowFile();
    if (file) message.attach(std::move(file));
    send(message);
  }
  void holdOutput(bool held) {
    ipc::Message message;
    message.frame().setHoldOutput(held);
    send(message);
  }

  // Reads frames until one satisfies `wanted`; outputs, starts and stops are kept in the members below.
  // False, and the test has failed, when the worker ends first or nothing comes.
  bool waitFor(const std::function<bool(ipc::wire::Frame::Reader)>& wanted) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      while (auto frame = connection_->next()) {
        keep(frame->get());
        if (wanted(frame->get())) return true;
      }
      if (closed_ || std::chrono::steady_clock::now() > end) {
        ADD_FAILURE() << (closed_ ? "the worker is gone" : "nothing came in time");
        return false;
      }
      pollfd poll{connection_->fd(), POLLIN, 0};
      ::poll(&poll, 1, 1000);
      closed_ = poll.revents != 0 && connection_->receive() == ipc::Connection::Input::closed;
    }
  }

  std::string out;
  std::string err;
  std::optional<pid_t> started;
  std::vector<int> stops;

 private:
  static capnp::Data::Reader bytes(const std::string& text) {
    return {reinterpret_cast<const capnp::byte*>(text.data()), text.size()};
  }
  void keep(ipc::wire::Frame::Reader frame) {
    if (frame.isOutput()) {
      const auto data = frame.getOutput().getData();
      auto& text = frame.getOutput().getStream() == 1 ? out : err;
      text.append(reinterpret_cast<const char*>(data.begin()), data.size());
    } else if (frame.isStarted()) {
      started = frame.getStarted().getPid();
    } else if (frame.isStopped()) {
      stops.push_back(frame.getStopped().getSignal());
    }
  }
  static Ended read(ipc::wire::WorkerEnded::Reader ended) {
    Ended result;
    result.task = ended.getTask();
    result.cause = ended.getCause();
    result.exitCode = ended.getExitCode();
    result.signal = ended.getSignal();
    result.detail = ended.getDetail().cStr();
    result.wallNs = ended.getWallNs();
    result.cpuNs = ended.getUserNs() + ended.getSystemNs();
    result.peakBytes = ended.getPeakBytes();
    result.peakIsUpperBound = ended.getPeakIsUpperBound();
    result.logLength = ended.getLogLength();
    result.overflowLength = ended.getOverflowLength();
    result.overflowStart = ended.getOverflowStart();
    result.outputBytes = ended.getOutputBytes();
    result.droppedBytes = ended.getDroppedBytes();
    result.logNote = ended.getLogNote().cStr();
    for (const auto pid : ended.getEscaped()) result.escaped.push_back(pid);
    result.holder = ended.getHolder();
    return result;
  }

  pid_t pid_ = -1;
  bool reaped_ = false;
  bool closed_ = false;
  bool contextSent_ = false;
  std::uint64_t lastTask_ = 0;
  std::optional<ipc::Connection> connection_;
};

}  // namespace baton::worker::test
