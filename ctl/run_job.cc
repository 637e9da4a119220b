#include "ctl/run_job.h"

#include <csignal>
#include <utility>

namespace baton::ctl {
namespace {

using namespace std::chrono_literals;

constexpr auto kSecondInterruptAfter = 1s;

bool wantedTerminal(int signal) {
  return signal == SIGTTIN || signal == SIGTTOU;
}

}  // namespace

bool RunJob::startsInFront() {
  return wantsTerminal_ && actions_.inForeground();
}

void RunJob::prepared() {
  if (mayTakeTerminal()) actions_.takeTerminal();
}

void RunJob::started() {
  state_ = State::running;
}

void RunJob::stopped(int signal) {
  state_ = State::stopped;
  if (!actions_.hasTerminal() && !stopForwarded_) {
    return;
  }
  if (std::exchange(stopForwarded_, false)) signal = SIGTSTP;
  actions_.leaveTerminal();
  if (wantedTerminal(signal)) {
    wantsTerminal_ = true;
    if (actions_.inForeground()) {
      goOn(true);
      return;
    }
  }
  if (actions_.stopGroup(signal)) {
    return;  // SIGCONT comes by signalled()
  }
  if (wantedTerminal(signal) && !actions_.inForeground()) actions_.signalTask(SIGHUP);
  goOn(mayTakeTerminal());
}

void RunJob::continued() {
  state_ = State::running;
  if (mayTakeTerminal()) actions_.takeTerminal();
}

void RunJob::goOn(bool foreground) {
  state_ = State::continuing;
  actions_.continueTask(foreground);
}

void RunJob::signalled(int signal, Time now) {
  switch (signal) {
    case SIGCONT:
      resumed();
      return;
    case SIGTSTP:
      stopAsked();
      return;
    case SIGWINCH:
      actions_.resize();
      return;
    case SIGINT:
      interrupted(now);
      return;
    default:
      break;
  }
  actions_.signalTask(signal);
}

void RunJob::refused(int signal) {
  if (state_ != State::queued) {
    return;
  }
  if (signal == SIGTSTP || signal == SIGSTOP) {
    stopWaiting();
  } else {
    cancel(signal);
  }
}

void RunJob::interrupted(Time now) {
  if (firstInterrupt_ && now - *firstInterrupt_ >= kSecondInterruptAfter) {
    cancel(SIGINT);
    return;
  }
  if (!firstInterrupt_) firstInterrupt_ = now;
  actions_.signalTask(SIGINT);
}

void RunJob::cancel(int signal) {
  cancelledBy_ = signal;
  actions_.cancelTask();
}

void RunJob::stopAsked() {
  if (isStopped()) {
    stopWaiting();
    return;
  }
  stopForwarded_ = true;
  // Without a terminal the task's process group is orphaned, and the kernel ignores SIGTSTP there.
  actions_.signalTask(actions_.hasTerminal() ? SIGTSTP : SIGSTOP);
}

void RunJob::stopWaiting() {
  held_ = state_ == State::queued;
  if (held_) actions_.holdTask(true);
  actions_.leaveTerminal();
  // Not stopped: like any process of an orphaned group it takes no notice.
  if (!actions_.stopGroup(SIGTSTP)) resumed();
}

void RunJob::resumed() {
  actions_.resize();
  if (std::exchange(held_, false)) actions_.holdTask(false);
  if (state_ == State::stopped) {
    goOn(mayTakeTerminal());
  } else if (state_ == State::running) {
    actions_.leaveTerminal();  // whoever was in front meanwhile has set it up anew
    if (mayTakeTerminal()) actions_.takeTerminal();
  }
}

}  // namespace baton::ctl
