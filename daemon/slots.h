// How many slots the pool has: the CPUs of the affinity mask, at most what the cgroup's cpu quota allows
// (the least of this cgroup's and those above it, cgroup v1 or v2, found through /proc/self/cgroup),
// changed by config `slots`.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baton::daemon {

// From Linux's own limit of CPUs on x86-64 (NR_CPUS at most 8192).
inline constexpr unsigned kMaxSlots = 8192;

// `slots` spelled as -j: "8" that many; "-4" the machine's less 4; "+2" 2 more; "75%" that part of the
// machine's, rounded down. The result is never below 1.
struct SlotSpelling {
  enum class Kind { absolute, less, more, percent };
  Kind kind = Kind::percent;
  unsigned number = 100;
};
inline constexpr std::string_view kSlotsExpected = "a number of slots as 8, -4, +2 or 75%";
// Empty if `text` is none of these, or beyond kMaxSlots (10,000 %).
std::optional<SlotSpelling> parseSlots(std::string_view text);

// Where the machine is looked at; tests give a tree of their own.
struct SlotSources {
  std::string procSelf = "/proc/self";  // holds `cgroup` and `mountinfo`
  std::string root;                     // put in front of every mount point
  std::optional<unsigned> affinity;     // instead of asking sched_getaffinity
};

struct SlotCount {
  unsigned slots = 1;
  std::string
      reason;  // a sentence without a full stop: "2 CPUs in the affinity mask, cgroup quota 150% allows 2"
};

// Reads a few small files; never fails: what cannot be read limits nothing. `spelling` must have been
// accepted by parseSlots, else Error(usage).
SlotCount countSlots(std::string_view spelling, const SlotSources& sources = {});

}  // namespace baton::daemon
