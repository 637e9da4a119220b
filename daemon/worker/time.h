// The clock of the worker: monotonic, as every duration of baton.
#pragma once

#include <chrono>
#include <cstdint>

namespace baton::worker {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;
using Duration = Clock::duration;

inline constexpr Time kNever = Time::max();

// A duration of the wire, which may be larger than the clock can add: then it is kNever.
inline Time after(Time from, std::uint64_t durationNs) {
  const auto room = static_cast<std::uint64_t>((kNever - from).count());
  return durationNs >= room ? kNever : from + Duration(static_cast<std::int64_t>(durationNs));
}

inline std::uint64_t nanoseconds(Duration duration) {
  return static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count());
}

}  // namespace baton::worker
