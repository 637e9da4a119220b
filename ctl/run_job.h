// What `batonctl run` does about signals, stops and continues: it stands for the task in the eyes of the
// shell that started it. Decides only; JobActions acts. Pure but for the clock that is passed in.
//
// 1. A signal sent to batonctl goes to the task's processes. Where the daemon says that there are none yet,
//    the task is cancelled: only the daemon knows, since a task may run before batonctl is told.
// 2. A second SIGINT, a second or more after the first, cancels the task.
// 3. When the task stops, batonctl gives the terminal back and stops its own process group, so that the shell
//    says "Stopped". Continued, it continues the task: in front if batonctl is in front.
// 4. A task that was stopped because it used the terminal from the background gets the terminal at once if
//    batonctl is in front, as in `batonctl run ls | less` once somebody types.
// 5. Where nobody could continue a stopped batonctl the task is not left stopped: it goes on, after a SIGHUP
//    if it wants a terminal that it cannot have, as the kernel does with orphaned process groups.
// 6. Without a terminal, batonctl stops only because it was told to (SIGTSTP), never because somebody stopped
//    the task.
#pragma once

#include <chrono>
#include <optional>

namespace baton::ctl {

class JobActions {
 public:
  virtual ~JobActions() = default;
  virtual void signalTask(int signal) = 0;
  virtual void cancelTask() = 0;
  virtual void continueTask(bool foreground) = 0;
  // Keeps a task that has not started from being started while batonctl is stopped.
  virtual void holdTask(bool held) = 0;
  // Does the task get a terminal of its own, and is batonctl's group in front of the user's?
  virtual bool hasTerminal() = 0;
  virtual bool inForeground() = 0;
  // Raw mode, and back. Each may be called when it is so already.
  virtual void takeTerminal() = 0;
  virtual void leaveTerminal() = 0;
  // The user's terminal has, or may have, a new size.
  virtual void resize() = 0;
  // SignalSource::stopGroup.
  [[nodiscard]] virtual bool stopGroup(int signal) = 0;
};

class RunJob {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `wantsTerminal`: the task is to be in front whenever batonctl is; else only once it asks (rule 4).
  RunJob(JobActions& actions, bool wantsTerminal) : actions_(actions), wantsTerminal_(wantsTerminal) {}

  // The pseudo-terminal is there, and the task about to start: true if it starts in front.
  bool startsInFront();
  void prepared();
  void started();
  void stopped(int signal);
  void continued();  // the daemon has continued the task
  void signalled(int signal, Time now);
  void refused(int signal);  // the daemon did not send it on: the task does not run

  // True from a stop until the daemon has continued the task.
  bool isStopped() const { return state_ == State::stopped || state_ == State::continuing; }
  // True while the task waits for a slot: before its start, and when it goes on after a stop.
  bool waiting() const { return state_ == State::queued || state_ == State::continuing; }
  // The signal that made it cancel the task: batonctl ends by that signal too.
  std::optional<int> cancelledBy() const { return cancelledBy_; }

 private:
  void interrupted(Time now);
  void cancel(int signal);
  void stopAsked();
  // Stops while the task waits for a slot.
  void stopWaiting();
  void resumed();
  bool mayTakeTerminal() const { return wantsTerminal_ && actions_.hasTerminal() && actions_.inForeground(); }
  void goOn(bool foreground);

  enum class State { queued, running, stopped, continuing };

  JobActions& actions_;
  bool wantsTerminal_;
  State state_ = State::queued;
  bool stopForwarded_ = false;
  bool held_ = false;
  std::optional<Time> firstInterrupt_;
  std::optional<int> cancelledBy_;
};

}  // namespace baton::ctl
