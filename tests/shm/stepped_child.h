// A child process that runs an operation instruction by instruction (ptrace), so that it can be stopped or
// killed after every one of them. The caller's thread is its tracer: use it from that thread alone.
#pragma once

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <new>
#include <type_traits>
#include <vector>

namespace baton::shm {

class SteppedChild {
 public:
  // Where each instruction of an operation is, in the order of their execution.
  using Trace = std::vector<std::uintptr_t>;

  // Stopped before the first instruction of `operation`. `prepare` runs before that, in the child.
  explicit SteppedChild(
      const std::function<void()>& operation, const std::function<void()>& prepare = [] {})
      : pid_(::fork()) {
    if (pid_ == 0) {
      prepare();
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::syscall(SYS_kill, ::syscall(SYS_getpid), SIGSTOP);
      operation();
      ::syscall(SYS_exit_group, 0);
    }
    if (pid_ < 0 || !awaitStop()) std::abort();
  }
  SteppedChild(const SteppedChild&) = delete;
  SteppedChild& operator=(const SteppedChild&) = delete;
  ~SteppedChild() { kill(); }

  // One instruction; a system call is one. False: it has ended.
  bool step() { return running() && ::ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0 && awaitStop(); }
  // Before the instruction `count` of `trace`. It knows those before, from a child that ran the same
  // operation; this one runs to the last of them at full speed and adds the next. False: it ended before.
  bool runTo(Trace& trace, std::size_t count) {
    if (count == 0) {
      trace.assign(1, address());
      return true;
    }
    strayed_ = !runAgain(trace, count - 1);
    if (strayed_ || !step()) return false;
    trace.resize(count);
    trace.push_back(address());
    return true;
  }
  // What runTo said was not the end: this child took another way than `trace`, as one that reads a clock may.
  bool strayed() const { return strayed_; }
  // To its end.
  void finish() {
    if (running() && ::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) == 0 && awaitStop()) std::abort();
  }
  void kill() {
    if (!running()) return;
    ::kill(pid_, SIGKILL);
    while (awaitStop()) {
    }
  }

 private:
  bool running() const { return pid_ > 0; }

#if defined(__x86_64__)
  static constexpr std::size_t kAddress = offsetof(user_regs_struct, rip);

  std::uintptr_t address() const {
    return static_cast<std::uintptr_t>(::ptrace(PTRACE_PEEKUSER, pid_, kAddress, nullptr));
  }

  // To `trace[last]`, by a breakpoint there.
  bool runAgain(const Trace& trace, std::size_t last) {
    const std::uintptr_t there = trace[last];
    auto hits = std::count(trace.begin() + 1, trace.begin() + static_cast<std::ptrdiff_t>(last) + 1, there);
    for (; last != 0 && hits > 0; --hits) {
      if (!step()) return false;
      if (address() != there && !runToBreakpoint(there)) return false;
    }
    return true;
  }

  bool runToBreakpoint(std::uintptr_t there) {
    void* const where = reinterpret_cast<void*>(there);
    const long code = ::ptrace(PTRACE_PEEKTEXT, pid_, where, nullptr);
    constexpr long kBreakpoint = 0xcc;
    ::ptrace(PTRACE_POKETEXT, pid_, where, (code & ~0xffL) | kBreakpoint);
    ::ptrace(PTRACE_CONT, pid_, nullptr, nullptr);
    if (!awaitStop()) return false;
    ::ptrace(PTRACE_POKETEXT, pid_, where, code);
    if (address() != there + 1) std::abort();
    ::ptrace(PTRACE_POKEUSER, pid_, kAddress, there);
    return true;
  }
#else
  std::uintptr_t address() const {
    return 0;
  }

  bool runAgain(const Trace&, std::size_t last) {
    while (last > 0 && step()) --last;
    return last == 0;
  }
#endif

  bool awaitStop() {
    int status = 0;
    if (::waitpid(pid_, &status, __WALL) != pid_) std::abort();
    if (WIFSTOPPED(status)) return true;
    pid_ = -1;
    return false;
  }

  pid_t pid_;
  bool strayed_ = false;
};

// An object in memory that a forked child shares.
template <class T>
class Shared {
 public:
  Shared()
      : object_(new (::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
                    T()) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    static_assert(std::is_trivially_destructible_v<T>);
    ::munmap(object_, sizeof(T));
  }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }

 private:
  T* object_;
};

}  // namespace baton::shm
