#include "daemon/worker/clone.h"

#include <linux/sched.h>
#include <sanitizer/asan_interface.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

#include "ipc/error.h"

namespace baton::worker {
namespace {

constexpr std::size_t kGuardBytes = 64 << 10;  // a page of any architecture

#if defined(__x86_64__)
// glibc has no clone3: the child must be on its own stack from its first instruction.
long clone3Entering(clone_args* args, int (*entry)(void*), void* argument) {
  long result = SYS_clone3;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %[argument], %%rdi\n\t"
      "call *%[entry]\n\t"
      "ud2\n\t"
      "1:"
      : "+a"(result)
      : "D"(args), "S"(sizeof(clone_args)), [entry] "r"(entry), [argument] "r"(argument)
      : "rcx", "r11", "memory", "cc");
  return result;
}
#elif defined(__aarch64__)
long clone3Entering(clone_args* args, int (*entry)(void*), void* argument) {
  register long x8 asm("x8") = SYS_clone3;
  register long x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = sizeof(clone_args);
  asm volatile(
      "svc #0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, %[argument]\n\t"
      "blr %[entry]\n\t"
      "brk #0\n\t"
      "1:"
      : "+r"(x0)
      : "r"(x1), "r"(x8), [entry] "r"(entry), [argument] "r"(argument)
      : "memory", "cc", "x30");
  return x0;
}
#else
long clone3Entering(clone_args*, int (*)(void*), void*) {
  return -ENOSYS;
}
#endif

}  // namespace

// clone3 came with Linux 5.3, birth in a cgroup with 5.7; some containers forbid clone3 by either code.
bool lacksCgroupBirth(int error) {
  return error == ENOSYS || error == EINVAL || error == E2BIG || error == EPERM;
}

ChildStack::ChildStack()
    : memory_(
          ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {
  if (memory_ == MAP_FAILED || ::mprotect(memory_, kGuardBytes, PROT_NONE) < 0) {
    throwErrno("cannot make a stack for children");
  }
}

ChildStack::~ChildStack() {
  ::munmap(memory_, kBytes);
}

pid_t cloneSharing(const ChildStack& stack, int (*entry)(void*), void* argument, int cgroupDirectory) {
  // The last child left its frames marked as in use when it called execve.
  ASAN_UNPOISON_MEMORY_REGION(stack.base(), ChildStack::kBytes);
  if (cgroupDirectory < 0) {
    return ::clone(entry, static_cast<char*>(stack.base()) + ChildStack::kBytes,
                   CLONE_VM | CLONE_VFORK | SIGCHLD, argument);
  }
  clone_args args{};
  args.flags = CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP;
  args.exit_signal = SIGCHLD;
  args.stack = reinterpret_cast<std::uintptr_t>(stack.base());
  args.stack_size = ChildStack::kBytes;
  args.cgroup = static_cast<std::uint64_t>(cgroupDirectory);
  const long result = clone3Entering(&args, entry, argument);
  if (result < 0) {
    errno = static_cast<int>(-result);
    return -1;
  }
  return static_cast<pid_t>(result);
}

pid_t forkInto(int cgroupProcesses) {
  const pid_t pid = ::fork();
  if (pid == 0 && cgroupProcesses >= 0 && ::write(cgroupProcesses, "0", 1) < 0) ::_exit(1);
  return pid;
}

}  // namespace baton::worker
