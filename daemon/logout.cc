#include "daemon/logout.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace baton::daemon {
namespace {

std::string readAll(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string logindConf() {
  std::string text = readAll("/etc/systemd/logind.conf") + "\n";
  std::vector<std::filesystem::path> dropIns;
  for (const char* directory :
       {"/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"}) {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(directory, none)) {
      if (entry.path().extension() == ".conf") dropIns.push_back(entry.path());
    }
  }
  std::sort(dropIns.begin(), dropIns.end(),
            [](const auto& a, const auto& b) { return a.filename() < b.filename(); });
  for (const auto& path : dropIns) text += readAll(path) + "\n";
  return text;
}

bool killsWhatASessionLeaves(const std::string& conf) {
  bool kills = false;
  std::istringstream lines(conf);
  for (std::string line; std::getline(lines, line);) {
    constexpr const char* kKey = "KillUserProcesses=";
    if (line.rfind(kKey, 0) != 0) continue;
    const std::string value = line.substr(std::string(kKey).size());
    kills = value == "yes" || value == "true" || value == "on" || value == "1";
  }
  return kills;
}

}  // namespace

std::string logoutNotice(const LogoutFacts& facts) {
  if (facts.cgroups.find("/user.slice/user-") == std::string::npos) return {};
  if (facts.cgroups.find("/user@") != std::string::npos) {
    return facts.lingers ? "" : "this work ends when you log out; `loginctl enable-linger` keeps it running";
  }
  if (facts.isRoot || !killsWhatASessionLeaves(facts.logindConf)) return {};
  return "this work ends when you log out: logind.conf says KillUserProcesses=yes";
}

std::string logoutNotice() {
  const passwd* entry = ::getpwuid(::getuid());
  LogoutFacts facts;
  facts.cgroups = readAll("/proc/self/cgroup");
  facts.lingers = entry != nullptr &&
                  ::access((std::string("/var/lib/systemd/linger/") + entry->pw_name).c_str(), F_OK) == 0;
  facts.isRoot = ::getuid() == 0;
  facts.logindConf = logindConf();
  return logoutNotice(facts);
}

}  // namespace baton::daemon
