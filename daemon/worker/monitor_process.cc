#include "daemon/worker/monitor_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace baton::worker {
namespace {

std::int64_t nanosecondsOf(const timeval& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + std::int64_t{time.tv_usec} * 1000;
}

}  // namespace

void MonitorProcess::run() {
  ::prctl(PR_SET_NAME, holder_ ? "baton-holder" : "baton-monitor");
  if (holder_) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  // As the worker it has all signals blocked, so none that is meant for the task can end it.
  sigset_t wanted;
  ::sigemptyset(&wanted);
  ::sigaddset(&wanted, SIGCHLD);
  ::sigaddset(&wanted, SIGHUP);
  signals_ = shm::Fd(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  takeTerminal();
  start();
  keepOnly();
  loop();
  finish();
}

void MonitorProcess::takeTerminal() {
  if (plan_.terminal < 0) return;
  ::setsid();
  ::ioctl(plan_.terminal, TIOCSCTTY, 0);
}

void MonitorProcess::start() {
  plan_.cgroupDirectory = -1;  // it is in there itself, so its children are too
  plan_.birthLine = line_.get();
  const Launched launched = launch(plan_, stack_);
  MonitorEvent event;
  if (launched.failure.step != Step::none) {
    event.kind = MonitorEvent::Kind::failed;
    event.failure = launched.failure;
    send(event);
    finish();
  }
  command_ = launched.pid;
  event.kind = MonitorEvent::Kind::started;
  event.pid = launched.pid;
  send(event);
}

// Lets go of everything that is the worker's or the command's: their ends must not wait for this process.
void MonitorProcess::keepOnly() {
  constexpr unsigned kFirst = 3;
  std::array<unsigned, 3> kept{static_cast<unsigned>(line_.get()), static_cast<unsigned>(signals_.get()),
                               static_cast<unsigned>(std::max(plan_.terminal, 0))};
  std::sort(kept.begin(), kept.end());
  unsigned from = kFirst;
  for (const unsigned fd : kept) {
    if (fd > from) ::close_range(from, fd - 1, 0);
    from = std::max(from, fd + 1);
  }
  ::close_range(from, ~0U, 0);
}

void MonitorProcess::loop() {
  pollfd polls[2] = {{signals_.get(), POLLIN, 0}, {line_.get(), POLLIN, 0}};
  for (;;) {
    if (::poll(polls, 2, -1) < 0) continue;
    if (polls[0].revents != 0 && !handleSignals()) return;
    if (polls[1].revents != 0 && !handleLine()) {
      lineEnded();
      return;
    }
  }
}

// False: the command has ended, and has been reported.
bool MonitorProcess::handleSignals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
    // The terminal hung up: only its session's leader is told. As a shell does, tell the command.
    if (info.ssi_signo == SIGHUP && plan_.terminal >= 0) {
      ::killpg(command_, SIGHUP);
      ::killpg(command_, SIGCONT);
    }
  }
  int status = 0;
  rusage used{};
  for (pid_t pid = 0; (pid = ::wait4(-1, &status, WNOHANG | WUNTRACED | WCONTINUED, &used)) > 0;) {
    if (WIFSTOPPED(status)) {
      if (pid == command_) commandStopped(WSTOPSIG(status));
    } else if (WIFCONTINUED(status)) {
      MonitorEvent event;
      event.kind = MonitorEvent::Kind::continued;
      if (pid == command_) send(event);
    } else {
      reap(used);
      if (pid == command_) {
        ended_.kind = MonitorEvent::Kind::ended;
        ended_.status = status;
        pid_t other = 0;
        while ((other = ::wait4(-1, nullptr, WNOHANG, &used)) > 0) reap(used);
        ended_.stays = holder_ && other == 0;
        send(ended_);
        return false;
      }
    }
  }
  return true;
}

void MonitorProcess::reap(const rusage& used) {
  ended_.userNs += nanosecondsOf(used.ru_utime);
  ended_.systemNs += nanosecondsOf(used.ru_stime);
  ended_.peakBytes = std::max(ended_.peakBytes, static_cast<std::uint64_t>(used.ru_maxrss) * 1024);
}

void MonitorProcess::commandStopped(int signal) {
  if (plan_.terminal >= 0) {
    const pid_t front = ::tcgetpgrp(plan_.terminal);
    front_ = front > 0 && front != ::getpgrp() ? front : -1;
    ::tcsetpgrp(plan_.terminal, ::getpgrp());
  }
  MonitorEvent event;
  event.kind = MonitorEvent::Kind::stopped;
  event.status = signal;
  send(event);
}

// False: the worker is gone.
bool MonitorProcess::handleLine() {
  char word = 0;
  const ssize_t got = ::recv(line_.get(), &word, 1, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  resume(word == 'F');
  return true;
}

void MonitorProcess::resume(bool foreground) {
  if (plan_.terminal >= 0 && foreground) {
    if (front_ < 0 || ::tcsetpgrp(plan_.terminal, front_) < 0) ::tcsetpgrp(plan_.terminal, command_);
    if (front_ > 0 && front_ != command_) ::killpg(front_, SIGCONT);
  }
  ::killpg(command_, SIGCONT);
}

void MonitorProcess::lineEnded() {
  ::kill(command_, SIGKILL);
}

void MonitorProcess::finish() {
  line_.reset();
  if (holder_) {
    // Wakes for each end among what it keeps, for the last one it exits.
    while (::wait4(-1, nullptr, 0, nullptr) > 0 || errno == EINTR) {
    }
  }
  ::_exit(0);
}

void MonitorProcess::send(const MonitorEvent& event) const {
  ::send(line_.get(), &event, sizeof(event), MSG_NOSIGNAL);
}

}  // namespace baton::worker
