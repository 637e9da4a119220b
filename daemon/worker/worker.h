// The worker: one loop over the daemon's socket, its children and the task that it runs. It runs one task at
// a time and keeps no state of it longer than the daemon needs to hear of its end.
//
// It has no parent-death signal, which would leave its task's processes alive: when the daemon's socket ends
// it kills the tree of its task, then it exits. No other process can end it but by KILL: all signals are
// blocked.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "daemon/worker/task.h"
#include "ipc/connection.h"
#include "ipc/error.h"
#include "ipc/surroundings.h"

namespace baton::worker {

// An assign holds argv and environment of any size that execve takes.
inline constexpr std::size_t kMaxDaemonFrameBytes = std::size_t{8} << 20;

class Worker {
 public:
  // Takes the socket to the daemon and the log segment (may be empty). `logLastBytes`: see TaskLog. Throws
  // Error(system).
  Worker(shm::Fd daemon, shm::Fd segment, std::uint64_t logLastBytes);

  // Until the daemon says so or is gone, and then the exit code.
  int run();

 private:
  void turn();
  Time deadline() const;
  void receive();
  void handleFrame(ipc::ReceivedFrame& frame);
  void assign(ipc::ReceivedFrame& frame);
  void handleTaskFrame(ipc::wire::Frame::Reader frame);
  void waitForChildren();
  void clearSignals();
  void abandonTask();
  Equipment equipment();
  TaskCgroup* enterCgroup(const std::string& path);
  void renewCgroup();
  void noCgroup(const Error& why);

  ipc::Connection daemon_;
  Reporter reporter_;
  const ipc::Surroundings own_;
  ChildStack stack_;
  OomCounter oom_;
  std::optional<RecordFile> segment_;
  std::uint64_t logLastBytes_;
  shm::Fd signals_;
  shm::Fd null_;
  std::unique_ptr<char[]> buffer_;
  std::vector<pid_t> holders_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<TaskCgroup> cgroup_;
  bool cgroupUsed_ = false;    // and not yet looked after
  bool cgroupMissed_ = false;  // it was said that there is none
  PollSet polls_;
  std::unique_ptr<Task> task_;
  bool retired_ = false;
  bool gone_ = false;  // the daemon
};

}  // namespace baton::worker
