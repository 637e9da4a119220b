#include "daemon/cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string_view>

namespace baton::daemon {
namespace {

std::optional<std::string> contentOf(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// mountinfo writes blank, tab, newline and backslash as three octal digits.
std::string unescapeOctal(std::string_view text) {
  const auto octal = [&](std::size_t i) { return i < text.size() && text[i] >= '0' && text[i] <= '7'; };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

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

// `path` seen from a mount that shows `root`; empty if it does not show it.
std::optional<std::string> below(const std::string& root, const std::string& path) {
  if (root == "/") return path;
  if (path == root) return "/";
  if (path.starts_with(root + "/")) return path.substr(root.size());
  return std::nullopt;
}

// The directories to be asked, this cgroup's first, then those above it as far as they can be seen.
std::vector<std::string> directoriesOf(const CgroupMount& mount, const std::string& path) {
  // Outside of what is mounted (".." in a cgroup namespace, a bind mount without namespace): the mount's own
  // root is the nearest that can be seen.
  const bool outside = path.find("/..") != std::string::npos;
  std::string rest = outside ? "/" : below(mount.root, path).value_or("/");
  std::vector<std::string> directories;
  while (rest.size() > 1) {
    directories.push_back(mount.point + rest);
    rest.erase(rest.rfind('/'));
  }
  directories.push_back(mount.point);
  return directories;
}

// Of several mounts of one hierarchy the one that shows most of the path's ancestors.
const CgroupMount* bestMount(const std::vector<CgroupMount>& mounts, bool unified, const std::string& path) {
  const CgroupMount* best = nullptr;
  bool bestShows = false;
  for (const CgroupMount& mount : mounts) {
    if (mount.unified != unified) continue;
    if (!unified && mount.controllers.find(",cpu,") == std::string::npos) continue;
    const bool shows = below(mount.root, path).has_value();
    const bool better = best == nullptr || (shows && !bestShows) ||
                        (shows == bestShows && mount.root.size() < best->root.size());
    if (!better) continue;
    best = &mount;
    bestShows = shows;
  }
  return best;
}

}  // namespace

std::vector<CgroupMount> parseCgroupMounts(const std::string& mountinfo) {
  std::vector<CgroupMount> mounts;
  std::istringstream lines(mountinfo);
  std::string line;
  while (std::getline(lines, line)) {
    // 31 23 0:28 ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE SUPEROPTIONS
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash));
    std::istringstream back(line.substr(dash + 3));
    std::string skip;
    std::string root;
    std::string point;
    std::string type;
    std::string options;
    if (!(front >> skip >> skip >> skip >> root >> point) || !(back >> type >> skip >> options)) continue;
    if (type != "cgroup" && type != "cgroup2") continue;
    mounts.push_back({.point = unescapeOctal(point),
                      .root = unescapeOctal(root),
                      .unified = type == "cgroup2",
                      .controllers = "," + options + ","});
  }
  return mounts;
}

std::optional<double> cpuQuotaPercent(const std::string& procSelf, const std::string& root) {
  std::vector<CgroupMount> mounts = parseCgroupMounts(contentOf(procSelf + "/mountinfo").value_or(""));
  for (CgroupMount& mount : mounts) mount.point.insert(0, root);
  std::optional<double> least;
  std::istringstream lines(contentOf(procSelf + "/cgroup").value_or(""));
  std::string line;
  while (std::getline(lines, line)) {
    // HIERARCHY:CONTROLLERS:PATH; v2 is 0::PATH.
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = controllers == ",,";
    if (!unified && controllers.find(",cpu,") == std::string::npos) continue;
    const std::string path = line.substr(second + 1);
    const CgroupMount* mount = bestMount(mounts, unified, path);
    if (mount == nullptr) continue;
    for (const std::string& directory : directoriesOf(*mount, path)) {
      const auto quota = unified ? quotaV2(directory) : quotaV1(directory);
      if (quota && (!least || *quota < *least)) least = quota;
    }
  }
  return least;
}

}  // namespace baton::daemon
