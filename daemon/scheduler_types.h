// The words the scheduler and its parts share.
#pragma once

#include <chrono>
#include <cstdint>

namespace baton::daemon {

// Unique among the tasks of all uids that the scheduler knows at one time.
using TaskId = std::uint64_t;
using Uid = std::uint32_t;
using Gid = std::uint32_t;
// Monotonic, since any fixed point. Never decreases from call to call.
using Time = std::chrono::nanoseconds;
constexpr Time kForever = Time::max();

enum class Lane : std::uint8_t {
  cpu,  // computes: needs slots
  io,   // waits rather than computes: needs none
};

}  // namespace baton::daemon
