// The worker processes: started, given tasks, watched, recycled, replaced. Which task runs is the Scheduler's
// affair, what its end means the Dispatcher's. Single-threaded, on the daemon's loop.
//
// Invariants
// 1. A CPU worker either runs a task that holds slots, or runs one that is parked, or is idle; idle ones and
//    those with slots together are never more than the slots: idle ones are retired to make room.
// 2. The pool knows which task a worker has from before the worker knows it until the worker's report, or its
//    death, has been handed to PoolEvents.
// 3. A worker is dead when the kernel says so (waitid), and its task lost only then, after all that it had
//    reported was read.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "daemon/assign.h"
#include "daemon/cgroup_tree.h"
#include "daemon/log_store.h"
#include "daemon/loop.h"
#include "daemon/task.h"
#include "ipc/connection.h"

namespace baton::daemon {

using WorkerId = std::uint32_t;

// How the pool tells what its workers report. Called from the loop, never from inside a call to the pool.
class PoolEvents {
 public:
  virtual ~PoolEvents() = default;
  virtual void taskStarted(TaskId task, std::int32_t pid) = 0;
  virtual void taskStopped(TaskId task, int signal) = 0;
  virtual void taskOutput(TaskId task, ipc::wire::Output::Reader output) = 0;
  virtual void taskSampled(TaskId task, std::uint64_t cpuNs, bool asleep) = 0;
  virtual void taskEnded(TaskId task, Outcome outcome) = 0;
  // Its worker died under it. `started`: the command may have run.
  virtual void taskLost(TaskId task, bool started, const std::string& how,
                        std::vector<std::int32_t> escaped) = 0;
  // A worker became free, or may be started again after a back-off.
  virtual void poolHasRoom() = 0;
};

struct PoolOptions {
  std::string workerProgram;
  std::string socketPath;  // BATON_SOCKET of tasks
  unsigned slots = 1;
  std::uint64_t maxTasks = 0;       // recycle after so many; 0: never
  std::uint64_t maxMemory = 0;      // recycle above that RSS; 0: never
  std::chrono::nanoseconds idle{};  // retire idle ones after it; 0: never
  unsigned ioNice = 0;              // added to the nice value of IO tasks where no cgroup weighs them
  const CgroupTree* cgroups = nullptr;
};

class Pool {
 public:
  struct Worker;

  Pool(Loop& loop, LogStore& logs, const PoolOptions& options);
  ~Pool();
  void setEvents(PoolEvents& events) { events_ = &events; }
  void setOptions(const PoolOptions& options) { options_ = options; }

  // Starts a worker before there is a task for it: its start takes as long as a short task.
  void warmUp();
  // False while workers die as soon as they are started and none is idle: a task started now could not run.
  bool canStart(Lane lane) const;
  // Gives the task to an idle worker, or starts one. `slot`: from 1, or 0 in the IO lane. `parcel`: for tasks
  // whose output is a parcel; taken unless this throws. Sets task.running.
  void start(Task& task, unsigned slot, shm::Fd& parcel);
  void cancel(const Task& task, std::chrono::nanoseconds grace, Cause cause);
  void signal(const Task& task, int signal, bool mainOnly);
  void continueStopped(const Task& task, bool foreground);
  void sample(const Task& task);
  // Its worker reads no more of the task's output, or goes on: nobody takes it.
  void holdOutput(const Task& task, bool hold);
  // The task's slots were given back or taken again: its worker leaves or joins those that hold slots.
  void setParked(const Task& task, bool parked);

  // Every worker is replaced: idle ones now, others after their task.
  void recycle();
  // SIGKILL to every worker; their tasks' trees end by the strays' killer. For the end of the daemon.
  void killAll();
  // A child of this process was reaped (waitid's si_code and si_status). 0: it is no worker. Else it is to be
  // buried once what it left has been ended: then its task is lost and the pool filled up.
  WorkerId reaped(std::int32_t pid, int code, int status);
  void bury(WorkerId id, std::vector<std::int32_t> escaped);
  bool isWorker(std::int32_t pid) const { return byPid_.contains(pid); }
  bool isHolder(std::int32_t pid) const;
  // Of its tasks; empty: none.
  std::string cgroupOf(WorkerId id) const;
  // Writes what is queued for workers; called once a turn.
  void flush();

  std::size_t size() const { return workers_.size(); }
  std::uint64_t started() const { return startedCount_; }
  std::uint64_t lost() const { return lostCount_; }
  std::vector<const Worker*> list() const;

 private:
  Worker* find(const Task& task);
  Worker& obtain(Lane lane);
  Worker& spawn(Lane lane);
  void makeRoom(Lane lane, const Worker* except);
  void retire(Worker& worker);
  void assign(Worker& worker, Task& task, shm::Fd& parcel);
  AssignOptions assignOptions(const Worker& worker, const Task& task) const;
  shm::Fd openLog(Worker& worker, Task& task);
  void send(Worker& worker, ipc::Message& message);
  void markDirty(WorkerId id);
  void readable(WorkerId id);
  void handle(Worker& worker, ipc::ReceivedFrame& frame);
  void ended(Worker& worker, ipc::wire::WorkerEnded::Reader report);
  void becameIdle(Worker& worker);
  void backOff();
  void idleTimeout();
  unsigned holdingOrIdle() const;

  Loop& loop_;
  LogStore& logs_;
  PoolOptions options_;
  PoolEvents* events_ = nullptr;
  std::map<WorkerId, std::unique_ptr<Worker>> workers_;
  std::unordered_map<std::int32_t, WorkerId> byPid_;
  std::unordered_map<std::int32_t, bool> holders_;
  std::vector<WorkerId> dirty_;
  std::vector<WorkerId> readAgain_;  // with frames received but not yet served
  WorkerId lastId_ = 0;
  std::uint64_t startedCount_ = 0;
  std::uint64_t lostCount_ = 0;
  unsigned earlyDeaths_ = 0;
  bool backingOff_ = false;
  bool ending_ = false;
  Source backOffTimer_;
  Source idleTimer_;
  Source again_;
};

struct Pool::Worker {
  enum class State { starting, idle, running, retiring };
  WorkerId id = 0;
  std::int32_t pid = 0;
  Lane lane = Lane::cpu;
  State state = State::starting;
  bool ready = false;    // it has said so
  bool parked = false;   // its task gave its slots back
  bool recycle = false;  // retire after the present task
  bool started = false;  // the present task's command was started
  bool dirty = false;
  bool dead = false;
  std::string death;  // how
  TaskId task = 0;
  Uid uid = 0;
  unsigned slot = 0;
  unsigned slots = 1;  // that its task takes
  std::uint64_t tasksRun = 0;
  std::uint64_t startedNs = 0;           // calendar
  std::chrono::nanoseconds idleSince{};  // monotonic
  LogFileId segment = 0;
  bool logging = false;                    // the present task's log was begun
  std::shared_ptr<const Context> context;  // of its last task
  std::unique_ptr<ipc::Connection> connection;
  Source source;
};

}  // namespace baton::daemon
