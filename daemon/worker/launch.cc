#include "daemon/worker/launch.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace baton::worker {
namespace {

constexpr int kIoprioWhoProcess = 1;
constexpr int kChildFailed = 127;  // seen by nobody: the failure is in memory

struct Child {
  const LaunchPlan* plan;
  bool joinCgroup;
  bool born;
  LaunchFailure failure;

  bool fail(Step step, int index = -1) {
    failure = {step, errno, index};
    return false;
  }
};

bool enterSession(Child& child) {
  const LaunchPlan& plan = *child.plan;
  if (child.joinCgroup && ::write(plan.cgroupProcesses, "0", 1) < 0) return child.fail(Step::cgroup);
  if (plan.terminal < 0) {
    return ::setsid() >= 0 || child.fail(Step::session);
  }
  if (::setpgid(0, 0) < 0) return child.fail(Step::session);
  // All signals are blocked still, so a process in the background may do this.
  if (plan.foreground && ::tcsetpgrp(plan.terminal, ::getpid()) < 0) return child.fail(Step::session);
  return true;
}

void setSignals(const Child& child) {
  // The worker has no handlers and ignores nothing: only what the command shall ignore is to be set.
  std::uint64_t ignored = child.plan->ignoredSignals;
  while (ignored != 0) {
    const int signal = __builtin_ctzll(ignored) + 1;
    ignored &= ignored - 1;
    ::signal(signal, SIG_IGN);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

bool openStreams(Child& child) {
  for (int number = 0; number < 3; ++number) {
    const StandardStream& stream = child.plan->streams[static_cast<std::size_t>(number)];
    int fd = stream.fd;
    if (stream.path != nullptr) {
      const int how = number == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
      fd = ::open(stream.path, how | O_NOCTTY | O_CLOEXEC, 0666);
    } else if (stream.sameAs >= 0) {
      fd = stream.sameAs;
    }
    if (fd < 0 || ::dup2(fd, number) < 0) return child.fail(Step::open, number);
  }
  return true;
}

bool setLimits(Child& child) {
  const LaunchPlan& plan = *child.plan;
  // Before the limits: RLIMIT_NICE of the submitter may be below what the worker itself may do.
  if (plan.nice != nullptr && ::setpriority(PRIO_PROCESS, 0, *plan.nice) < 0) return child.fail(Step::nice);
  if (plan.ioPriority != nullptr && ::syscall(SYS_ioprio_set, kIoprioWhoProcess, 0, *plan.ioPriority) < 0) {
    return child.fail(Step::ioPriority);
  }
  if (plan.affinity != nullptr &&
      ::syscall(SYS_sched_setaffinity, 0, plan.affinityBytes, plan.affinity) < 0) {
    return child.fail(Step::affinity);
  }
  for (std::size_t i = 0; i < plan.limitCount; ++i) {
    const auto resource = static_cast<__rlimit_resource>(plan.limits[i].resource);
    if (::setrlimit(resource, &plan.limits[i].limit) < 0) return child.fail(Step::limit, static_cast<int>(i));
  }
  return true;
}

// Tries as execvp does: goes on to the next directory when the file is not there or not permitted.
void execute(Child& child) {
  const LaunchPlan& plan = *child.plan;
  LaunchFailure worst{Step::execute, ENOENT, -1};
  for (int i = 0; plan.candidates[i] != nullptr; ++i) {
    const char* path = plan.candidates[i];
    ::execve(path, plan.argv, plan.environment);
    if (errno == ENOEXEC) {
      plan.shellArgv[1] = const_cast<char*>(path);
      ::execve(plan.shellArgv[0], plan.shellArgv, plan.environment);
      errno = ENOEXEC;
    }
    switch (errno) {
      case EACCES:
        worst = {Step::execute, EACCES, i};
        break;
      case ENOENT:
      case ENOTDIR:
      case ESTALE:
      case ENODEV:
      case ETIMEDOUT:
        break;
      default:
        child.failure = {Step::execute, errno, i};
        return;
    }
  }
  child.failure = worst;
}

// On a stack that the address sanitizer does not know: before _exit it would look for the thread's own, and
// warn.
[[gnu::no_sanitize_address]] int runChild(void* argument) {
  Child& child = *static_cast<Child*>(argument);
  const LaunchPlan& plan = *child.plan;
  child.born = true;
  if (plan.birthLine >= 0) ::send(plan.birthLine, "", 1, MSG_NOSIGNAL);
  if (enterSession(child)) {
    setSignals(child);
    ::umask(plan.umask);
    if (plan.cwd != nullptr && ::chdir(plan.cwd) < 0) {
      child.fail(Step::chdir);
    } else if (openStreams(child) && setLimits(child)) {
      execute(child);
    }
  }
  ::_exit(kChildFailed);
}

// Birth in a cgroup, or else a child that enters it.
pid_t launchIntoCgroup(Child& child, const ChildStack& stack) {
  const LaunchPlan& plan = *child.plan;
  const pid_t pid = cloneSharing(stack, runChild, &child, plan.cgroupDirectory);
  // Some kernels (6.14 and later) kill whoever is born in a cgroup that was killed before.
  const bool killedAtBirth = pid > 0 && !child.born;
  if (killedAtBirth) ::waitpid(pid, nullptr, 0);
  if (!killedAtBirth && (pid > 0 || !lacksCgroupBirth(errno))) return pid;
  child.joinCgroup = true;
  return cloneSharing(stack, runChild, &child, -1);
}

}  // namespace

Launched launch(const LaunchPlan& plan, const ChildStack& stack) {
  Child child{&plan, false, false, {}};
  const pid_t pid =
      plan.cgroupDirectory >= 0 ? launchIntoCgroup(child, stack) : cloneSharing(stack, runChild, &child, -1);
  if (pid < 0) {
    child.fail(Step::clone);
  }
  return {pid, child.failure};
}

}  // namespace baton::worker
