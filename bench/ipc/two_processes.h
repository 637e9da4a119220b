// The two processes of a benchmark.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

namespace baton::bench {

// Nanoseconds that `parent` takes while `child` runs in a process of its own; it returns when both are done.
template <class Parent, class Child>
double nsOfBoth(Parent&& parent, Child&& child) {
  const pid_t pid = ::fork();
  if (pid < 0) std::abort();
  if (pid == 0) {
    child();
    ::_exit(0);
  }
  const auto begin = std::chrono::steady_clock::now();
  parent();
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid || status != 0) std::abort();
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace baton::bench
