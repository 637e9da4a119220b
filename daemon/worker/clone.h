// Making child processes: the two calls that neither posix_spawn nor fork can do.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace baton::worker {

// A stack for a child that shares the worker's memory; its lowest page faults.
class ChildStack {
 public:
  // Throws Error(system).
  ChildStack();
  ~ChildStack();
  ChildStack(const ChildStack&) = delete;
  ChildStack& operator=(const ChildStack&) = delete;

  void* base() const { return memory_; }
  static constexpr std::size_t kBytes = std::size_t{256} << 10;  // what sanitizers need; touched as used

 private:
  void* memory_;
};

// Runs `entry(argument)` in a child that shares the memory of the caller, which stands still until the child
// has called execve or _exit: as vfork, but safe to write in C++. What the child writes into memory the
// caller sees. `entry` must not allocate, lock or throw, and must not return. `cgroupDirectory`: the child is
// born in that cgroup (v2); -1: in the caller's. -1 and errno as clone(2); ENOSYS where no child can be born
// in a cgroup.
pid_t cloneSharing(const ChildStack& stack, int (*entry)(void*), void* argument, int cgroupDirectory);

// True if that errno of cloneSharing means that this system cannot give birth in a cgroup.
bool lacksCgroupBirth(int error);

// fork(2), and the child enters the cgroup whose cgroup.procs is open for writing; -1: none. Slower than
// birth in it.
pid_t forkInto(int cgroupProcesses);

}  // namespace baton::worker
