#include "shm/spin.h"

#include <sched.h>

namespace baton::shm {

bool SpinPolicy::mayUseTwoProcessors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // A mask larger than cpu_set_t is of a machine with more than 1024 processors.
  return ::sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) >= 2;
}

}  // namespace baton::shm
