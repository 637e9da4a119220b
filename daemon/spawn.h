// Starting a worker process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shm/fd.h"

namespace baton::daemon {

struct Spawned {
  std::int32_t pid = 0;
  shm::Fd socket;  // our end; the worker has the other as descriptor 3
};

// Starts `program` with `arguments` (argv[0] included), nothing inherited but descriptors 0, 1, 2 and 3, no
// signal blocked or ignored, an empty environment but for PATH. Throws Error(system).
Spawned spawnWorker(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace baton::daemon
