#include "daemon/cpu_quota.h"

#include <sstream>

#include "daemon/cgroup_mounts.h"

namespace baton::daemon {
namespace {

std::optional<double> quotaV2(const std::string& directory) {
  const auto text = contentOf(directory + "/cpu.max");
  if (!text) return std::nullopt;
  std::istringstream words(*text);
  double quota = 0;  // "max" is no number: no limit
  double period = 0;
  if (!(words >> quota >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period * 100;
}

std::optional<double> quotaV1(const std::string& directory) {
  const auto quotaText = contentOf(directory + "/cpu.cfs_quota_us");
  const auto periodText = contentOf(directory + "/cpu.cfs_period_us");
  if (!quotaText || !periodText) return std::nullopt;
  std::istringstream quotaWords(*quotaText);
  std::istringstream periodWords(*periodText);
  double quota = 0;  // -1: no limit
  double period = 0;
  if (!(quotaWords >> quota) || !(periodWords >> period) || quota <= 0 || period <= 0) return std::nullopt;
  return quota / period * 100;
}

// The directories to be asked, this cgroup's first, then those above it as far as they can be seen.
std::vector<std::string> directoriesOf(const CgroupMount& mount, const std::string& path) {
  // Outside of what is mounted (".." in a cgroup namespace, a bind mount without namespace): the mount's own
  // root is the nearest that can be seen.
  const bool outside = path.find("/..") != std::string::npos;
  std::string rest = outside ? "/" : pathBelow(mount.root, path).value_or("/");
  std::vector<std::string> directories;
  while (rest.size() > 1) {
    directories.push_back(mount.point + rest);
    rest.erase(rest.rfind('/'));
  }
  directories.push_back(mount.point);
  return directories;
}

}  // namespace

std::optional<double> cpuQuotaPercent(const std::string& procSelf, const std::string& root) {
  std::vector<CgroupMount> mounts = parseCgroupMounts(contentOf(procSelf + "/mountinfo").value_or(""));
  for (CgroupMount& mount : mounts) mount.point.insert(0, root);
  std::optional<double> least;
  for (const CgroupMembership& own : parseMemberships(contentOf(procSelf + "/cgroup").value_or(""))) {
    if (!own.unified && own.controllers.find(",cpu,") == std::string::npos) continue;
    const CgroupMount* mount = bestMount(mounts, own.unified ? "" : "cpu", own.path);
    if (mount == nullptr) continue;
    for (const std::string& directory : directoriesOf(*mount, own.path)) {
      const auto quota = own.unified ? quotaV2(directory) : quotaV1(directory);
      if (quota && (!least || *quota < *least)) least = quota;
    }
  }
  return least;
}

}  // namespace baton::daemon
