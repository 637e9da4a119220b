#include "ctl/signal_source.h"

#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::array kLeftAlone{SIGTTIN, SIGTTOU, SIGCHLD, SIGURG};

}  // namespace

SignalSource::SignalSource(std::uint64_t ignored) {
  // Of real-time signals and those of faults none is of use to anybody who forwards: they act as ever.
  sigemptyset(&taken_);
  for (int signal = 1; signal < SIGSYS; ++signal) {
    if ((ignored >> (signal - 1) & 1) == 0) sigaddset(&taken_, signal);
  }
  for (const int signal : kLeftAlone) sigdelset(&taken_, signal);
  ::sigprocmask(SIG_BLOCK, &taken_, &before_);
  fd_ = shm::Fd(::signalfd(-1, &taken_, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd_) {
    throwErrno("cannot watch for signals");
  }
}

SignalSource::~SignalSource() {
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

std::optional<int> SignalSource::next() {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof(info)) != static_cast<ssize_t>(sizeof(info))) {
    return std::nullopt;
  }
  return static_cast<int>(info.ssi_signo);
}

bool SignalSource::stopGroup(int signal) {
  ::kill(0, signal);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal);
  sigset_t mask;
  ::sigprocmask(SIG_UNBLOCK, &one, &mask);  // where it is blocked, it stops us here
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  sigset_t pending;
  sigemptyset(&pending);
  ::sigpending(&pending);
  return sigismember(&pending, SIGCONT) == 1;
}

void endBySignal(int signal) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);  // the core of interest is the task's
  struct sigaction action {};
  if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler != SIG_IGN) {
    ::signal(signal, SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    ::raise(signal);
    ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
  }
  ::_exit(128 + signal);
}

void endGroupBySignal(int signal) {
  ::kill(0, signal);
  endBySignal(signal);
}

}  // namespace baton::ctl
