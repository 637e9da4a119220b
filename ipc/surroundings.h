// The surroundings of a process that a command inherits: captured where it is submitted, put in force where
// it runs. Plain data; any thread.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "ipc/baton.capnp.h"

namespace baton::ipc {

struct Surroundings {
  struct Limit {
    std::uint64_t soft = RLIM_INFINITY;
    std::uint64_t hard = RLIM_INFINITY;
  };
  std::vector<std::string> environment;  // NAME=value, in the submitter's order
  std::string cwd;                       // absolute
  mode_t umask = 022;
  std::array<Limit, RLIM_NLIMITS> limits{};
  std::size_t limitsTold = RLIM_NLIMITS;  // the others are left as the worker has them
  int nice = 0;
  int ioPriority = 0;                  // as ioprio_get(2) returns it
  std::vector<std::uint8_t> affinity;  // bit mask of CPUs, lowest first
  std::uint64_t ignoredSignals = 0;    // bit n-1: signal n is ignored
};

// Those of the calling process. Throws Error(system) if the cwd cannot be read.
Surroundings captureSurroundings();

// NAME's value, or nullptr. Valid while `surroundings` lives and is not changed.
const char* environmentValue(const Surroundings& surroundings, const std::string& name);
// Sets or replaces NAME.
void setEnvironment(Surroundings& surroundings, const std::string& name, const std::string& value);
void unsetEnvironment(Surroundings& surroundings, const std::string& name);

void writeContext(const Surroundings& surroundings, wire::Context::Builder context);
// Throws Error(protocol) for what no honest client sends: a NUL inside, a relative cwd, numbers out of range.
Surroundings readContext(wire::Context::Reader context);

}  // namespace baton::ipc
