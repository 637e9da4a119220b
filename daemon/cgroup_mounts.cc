#include "daemon/cgroup_mounts.h"

#include <fstream>
#include <sstream>
#include <string_view>

namespace baton::daemon {
namespace {

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

}  // namespace

std::optional<std::string> contentOf(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<std::string> pathBelow(const std::string& root, const std::string& path) {
  if (root == "/") return path;
  if (path == root) return "/";
  if (path.starts_with(root + "/")) return path.substr(root.size());
  return std::nullopt;
}

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

std::vector<CgroupMembership> parseMemberships(const std::string& procCgroup) {
  std::vector<CgroupMembership> result;
  std::istringstream lines(procCgroup);
  std::string line;
  while (std::getline(lines, line)) {
    // HIERARCHY:CONTROLLERS:PATH; v2 is 0::PATH.
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    result.push_back({controllers == ",,", controllers, line.substr(second + 1)});
  }
  return result;
}

const CgroupMount* bestMount(const std::vector<CgroupMount>& mounts, const std::string& controller,
                             const std::string& path) {
  const CgroupMount* best = nullptr;
  bool bestShows = false;
  for (const CgroupMount& mount : mounts) {
    if (mount.unified != controller.empty()) continue;
    if (!controller.empty() && mount.controllers.find("," + controller + ",") == std::string::npos) continue;
    const bool shows = pathBelow(mount.root, path).has_value();
    const bool better = best == nullptr || (shows && !bestShows) ||
                        (shows == bestShows && mount.root.size() < best->root.size());
    if (!better) continue;
    best = &mount;
    bestShows = shows;
  }
  return best;
}

}  // namespace baton::daemon
