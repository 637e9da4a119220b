// The processes below this one, as /proc shows them. The worker is a subreaper: what loses its parent becomes
// its child, so the tree of a task is all that descends from the worker. Short system calls only.
//
// A pid is safe to signal only while its process cannot be reaped by others: that holds for the worker's own
// children. Deeper ones are reached by a pidfd and a second look at who they are.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace baton::worker {

struct ProcessStat {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';         // as in /proc/PID/stat
  std::uint64_t ticks = 0;  // CPU time, with that of reaped children
  int threads = 1;
  std::uint64_t startTicks = 0;  // with the pid: who it is
};

// nullopt: no such process (any more).
std::optional<ProcessStat> readProcessStat(pid_t pid);

// The children of this process: each is alive or a zombie of ours. May miss some that are born meanwhile.
std::vector<pid_t> childrenOfSelf();
// As childrenOfSelf, but misses none that is there all the time that it looks; slower.
std::vector<pid_t> childrenOfSelfByScan();

// All below this process, except what is in `except` and what is below `exceptBelow`.
struct Excluded {
  std::vector<pid_t> alone;  // themselves, not what is below them
  std::vector<pid_t> whole;  // and all below them
};
std::vector<ProcessStat> descendantsOfSelf(const Excluded& excluded);
// The same at the cost of the tree, not of all processes of the machine; may miss one whose parent ends
// meanwhile.
std::vector<ProcessStat> glanceAtDescendants(const Excluded& excluded);

// Sends `signal` once to every process of the tree, also to those born while it looks. Processes of other
// users that may not be signalled are passed over.
void signalDescendants(int signal, const Excluded& excluded);

// Signals a process known to be a child of `parent`, which may reap it at any time. False: it is gone.
bool signalChildOf(pid_t parent, pid_t pid, int signal);

// True if any thread of the process is running or waiting for a CPU.
bool isRunnable(const ProcessStat& process);

}  // namespace baton::worker
