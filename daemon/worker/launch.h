// Starting a command: everything is prepared before, the child allocates nothing and only makes system calls.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/worker/clone.h"

namespace baton::worker {

// Where a standard descriptor of the command comes from: the first that is set of `path`, `sameAs`, `fd`.
struct StandardStream {
  int fd = -1;                 // of the worker; at least 3
  const char* path = nullptr;  // opened by the child, after its chdir and umask
  int sameAs = -1;             // the file opened for that lower number
};

struct LimitChange {
  int resource = 0;
  rlimit limit{};
};

// What the child does before execve. Plain pointers into what the caller keeps alive during the call. What
// equals the worker's own surroundings need not be named: the child inherits it.
struct LaunchPlan {
  char* const* argv = nullptr;
  char* const* environment = nullptr;
  const char* const* candidates = nullptr;  // paths to try in order, ended by nullptr
  char** shellArgv = nullptr;  // "/bin/sh", a place for the candidate, argv[1..]: for a script without #!
  const char* cwd = nullptr;
  mode_t umask = 022;
  std::array<StandardStream, 3> streams{};
  const LimitChange* limits = nullptr;
  std::size_t limitCount = 0;
  const int* nice = nullptr;
  const int* ioPriority = nullptr;
  const std::uint8_t* affinity = nullptr;
  std::size_t affinityBytes = 0;
  std::uint64_t ignoredSignals = 0;
  // A terminal: the command gets a process group of its own in the caller's session, in front of the terminal
  // if `foreground`. None (-1): a session of its own.
  int terminal = -1;
  bool foreground = false;
  int birthLine = -1;  // a socket that gets one byte from the child once it can be signalled; -1: none
  int cgroupDirectory = -1;
  int cgroupProcesses = -1;  // cgroup.procs, open for writing, for where a child cannot be born in a cgroup
};

enum class Step : std::uint8_t {
  none,
  clone,
  cgroup,
  session,
  chdir,
  open,  // index: the standard descriptor
  nice,
  ioPriority,
  limit,  // index: into LaunchPlan::limits
  affinity,
  execute,  // index: the candidate that decided, -1: none was there
};

struct LaunchFailure {
  Step step = Step::none;
  int error = 0;
  int index = -1;
};

struct Launched {
  pid_t pid = -1;         // a child to be waited for, also after a failure; -1 only if there is none
  LaunchFailure failure;  // step none: the command runs, or died of a signal before execve
};

// Blocks until the command runs or could not be started: for as long as opening its files blocks.
Launched launch(const LaunchPlan& plan, const ChildStack& stack);

}  // namespace baton::worker
