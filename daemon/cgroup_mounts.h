// Where this process's cgroups are to be seen: what /proc/self/cgroup and /proc/self/mountinfo say of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace baton::daemon {

// A cgroup file system, as /proc/self/mountinfo has it.
struct CgroupMount {
  std::string point;        // where it is mounted
  std::string root;         // the cgroup that is seen there
  bool unified = false;     // v2
  std::string controllers;  // v1: ",cpu,cpuacct,"
};
std::vector<CgroupMount> parseCgroupMounts(const std::string& mountinfo);

// A line of /proc/self/cgroup.
struct CgroupMembership {
  bool unified = false;     // v2
  std::string controllers;  // v1: ",cpu,cpuacct,"
  std::string path;
};
std::vector<CgroupMembership> parseMemberships(const std::string& procCgroup);

// Of several mounts of the hierarchy that has `controller` (v1), or of v2 (empty), the one that shows most of
// the path's ancestors; nullptr: it is not mounted.
const CgroupMount* bestMount(const std::vector<CgroupMount>& mounts, const std::string& controller,
                             const std::string& path);

// `path` seen from a mount that shows `root`; empty if it does not show it.
std::optional<std::string> pathBelow(const std::string& root, const std::string& path);

// Of a small file; empty if it cannot be read.
std::optional<std::string> contentOf(const std::string& path);

}  // namespace baton::daemon
