// One task of a worker, from its assignment to its end and the end of all its processes.
//
//   arriving ---> running ---> ending ---> draining ---> done
//      |   descriptors  |  the command   |  its tree    |  its output is passed on
//      |   are there    |  has ended, or |  is gone     |
//      +--- failed -----+- KILL is due --+--------------+
//
// Single-threaded; nothing here blocks, but what opening a task's files or closing its descriptors does.
#pragma once

#include <sys/resource.h>

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "daemon/worker/arrival.h"
#include "daemon/worker/command.h"
#include "daemon/worker/end_ladder.h"
#include "daemon/worker/memory_events.h"
#include "daemon/worker/monitor.h"
#include "daemon/worker/output_pipes.h"
#include "daemon/worker/process_tree.h"
#include "daemon/worker/reporter.h"
#include "daemon/worker/task_cgroup.h"
#include "daemon/worker/task_log.h"
#include "daemon/worker/tree_end.h"

namespace baton::worker {

// What the tasks of a worker use, one after the other. It outlives them.
struct Equipment {
  Reporter& reporter;
  const ChildStack& stack;
  OomCounter& oom;
  std::optional<RecordFile>& segment;
  std::uint64_t logLastBytes;      // see TaskLog
  std::vector<pid_t>& holders;     // children that keep what earlier tasks left behind
  std::span<char> buffer;          // for reading output
  int null;                        // /dev/null
  std::array<int, 4> descriptors;  // what a monitor process must not keep; -1: none
  TaskCgroup* cgroup;              // for this task; nullptr: none
};

class Task {
 public:
  // `context` outlives the task; `parcel` is empty where none came. Throws Error(protocol), kj::Exception.
  Task(const Equipment& equipment, ipc::wire::Assign::Reader assign, Context& context, shm::Fd parcel);
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Starts the command if all for it is there.
  void begin();

  // The loop's turn: what to wait for, until when at the latest, and what came.
  void addTo(PollSet& polls) const;
  Time deadline() const;
  void handle(const PollSet& polls);
  // For each change of a child that wait4 told of, then once when there are no more.
  void childChanged(pid_t pid, int status, const rusage& used);
  void childrenSeen(bool noChildren);
  void timePassed();

  // The daemon's requests. Without effect once the command has ended: that was its own end then.
  void cancel(std::uint64_t graceNs, ipc::wire::Cause cause);
  void signal(int signal, bool main);
  void resume(bool foreground);
  void sample();
  void giveOverflow(shm::Fd file);
  // The sink may have room again.
  void outputWanted();

  std::uint64_t id() const { return end_.task; }
  // Its end is reported; it can be destroyed.
  bool done() const { return phase_ == Phase::done; }
  // True: children are to be waited for in every turn, not on signals alone.
  bool isEnding() const { return phase_ == Phase::ending; }
  // Processes are left that do not die: the worker is of no use any more.
  bool leftProcesses() const { return !end_.escaped.empty(); }
  // When the daemon is gone: the holder that keeps what a task with detachChildren leaves; 0: none.
  pid_t sparedHolder() const { return detach_ && monitor_ ? monitor_->pid() : 0; }
  TaskCgroup* cgroup() const { return equipment_.cgroup; }

 private:
  enum class Phase { arriving, running, ending, draining, done };

  void arrive();
  void prepareStreams();
  void launchCommand();
  void commandStarted(pid_t pid);
  void handleMonitor();
  void handleEvent(const MonitorEvent& event);
  void monitorLost();
  void commandStopped(int signal);
  void commandEnded(int status);
  void fail(const Outcome& outcome);
  void climb(EndLadder::Rung rung);
  void beginEnding();
  void endTree();
  void releaseHolder(bool stays);
  void finishTree();
  void drain();
  void askForOverflow();
  void report();
  bool struckByOom();
  Excluded notOurs() const;
  void count(const rusage& used);

  Equipment equipment_;
  ipc::wire::OutputMode output_;
  bool detach_;
  bool foreground_;
  std::uint32_t slot_;
  Command command_;
  EndLadder ladder_;
  std::optional<Arrival> arrival_;
  std::optional<TaskLog> log_;
  StreamSink stream_;
  std::optional<OutputPipes> pipes_;
  std::optional<Monitor> monitor_;
  TreeEnd tree_;
  Phase phase_ = Phase::arriving;
  Time begin_{};
  Time readFrom_{};            // output is not looked at before
  pid_t pid_ = 0;              // of the command; 0: it has not started
  bool commandEnded_ = false;  // its status is known
  bool killSent_ = false;
  bool noChildren_ = false;                         // what wait said last
  std::vector<std::pair<int, bool>> earlySignals_;  // that came before the command: signal, main
  TaskEnd end_;
};

}  // namespace baton::worker
