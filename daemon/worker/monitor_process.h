// What runs in the monitor process (monitor.h says what for). Single-threaded; it never returns to the
// worker.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include "daemon/worker/monitor.h"
#include "shm/fd.h"

namespace baton::worker {

class MonitorProcess {
 public:
  MonitorProcess(shm::Fd line, const LaunchPlan& plan, const ChildStack& stack, bool holder)
      : line_(std::move(line)), plan_(plan), stack_(stack), holder_(holder) {}

  [[noreturn]] void run();

 private:
  void takeTerminal();
  void start();
  void keepOnly();
  void loop();
  bool handleSignals();
  bool handleLine();
  void commandStopped(int signal);
  void resume(bool foreground);
  void reap(const rusage& used);
  void lineEnded();
  [[noreturn]] void finish();
  void send(const MonitorEvent& event) const;

  shm::Fd line_;
  LaunchPlan plan_;
  const ChildStack& stack_;
  bool holder_;
  shm::Fd signals_;
  pid_t command_ = -1;
  pid_t front_ = -1;  // the group that was in front of the terminal when the command stopped
  MonitorEvent ended_;
};

}  // namespace baton::worker
