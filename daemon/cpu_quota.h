// The cpu quota that cgroups set on this process, v1 or v2 or both at once. Reads a few small files; never
// fails: what cannot be read limits nothing.
#pragma once

#include <optional>
#include <string>

namespace baton::daemon {

// In hundredths of a CPU, the least of this process's cgroup and those above it; empty: there is none.
// `procSelf` holds `cgroup` and `mountinfo`; `root` is put in front of every mount point.
std::optional<double> cpuQuotaPercent(const std::string& procSelf, const std::string& root);

}  // namespace baton::daemon
