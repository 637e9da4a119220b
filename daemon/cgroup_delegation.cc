#include "daemon/cgroup_delegation.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "daemon/cgroup_mounts.h"
#include "ipc/cgroup.h"
#include "ipc/escape.h"
#include "shm/fd.h"

namespace baton::daemon {
namespace {

bool isMarked(const std::string& directory) {
  for (const char* name : {"user.delegate", "trusted.delegate"}) {
    std::array<char, 8> value{};
    const ssize_t size = ::getxattr(directory.c_str(), name, value.data(), value.size());
    if (size > 0 && value[0] == '1') return true;
  }
  return false;
}

// Where the cgroup `path` is to be seen; empty: nowhere.
std::string directoryOf(const std::string& path) {
  const auto mounts = parseCgroupMounts(contentOf("/proc/self/mountinfo").value_or(""));
  const CgroupMount* mount = bestMount(mounts, "", path);
  // ".." is above the root of our cgroup namespace.
  if (mount == nullptr || path.find("/..") != std::string::npos) return {};
  const auto below = pathBelow(mount->root, path);
  if (!below) return {};
  return *below == "/" ? mount->point : mount->point + *below;
}

bool mayWrite(int directory, const char* name) {
  return ::faccessat(directory, name, W_OK, AT_EACCESS) == 0;
}

void look(const shm::Fd& directory, CgroupFacts& facts) {
  const auto has = [&](const char* name) { return ::faccessat(directory.get(), name, F_OK, 0) == 0; };
  facts.machineRoot = !has("cgroup.events");
  facts.canKill = has("cgroup.kill");
  facts.domain = contentOf(facts.directory + "/cgroup.type").value_or("") == "domain\n";
  facts.writable = mayWrite(directory.get(), ".") && mayWrite(directory.get(), "cgroup.procs");
  struct stat status {};
  facts.ours = ::fstat(directory.get(), &status) == 0 && status.st_uid == ::geteuid();
  facts.marked = isMarked(facts.directory);
}

// What is mounted there may be something else than it seems: this process must be found in it.
bool holdsUs(const shm::Fd& directory) {
  struct statfs system {};
  if (::fstatfs(directory.get(), &system) < 0 || system.f_type != CGROUP2_SUPER_MAGIC) return false;
  const auto pids = ipc::cgroupProcesses(directory.get());
  return std::find(pids.begin(), pids.end(), ::getpid()) != pids.end();
}

}  // namespace

CgroupFacts cgroupFacts(bool told) {
  CgroupFacts facts;
  facts.told = told;
  facts.superuser = ::geteuid() == 0;
  facts.systemd = ::access("/run/systemd/system", F_OK) == 0;
  for (const auto& own : parseMemberships(contentOf("/proc/self/cgroup").value_or(""))) {
    if (own.unified) facts.path = own.path;
  }
  const auto mounts = parseCgroupMounts(contentOf("/proc/self/mountinfo").value_or(""));
  facts.mounted = !facts.path.empty() && bestMount(mounts, "", facts.path) != nullptr;
  if (!facts.mounted) return facts;
  facts.directory = directoryOf(facts.path);
  const shm::Fd directory(::open(facts.directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory && holdsUs(directory)) {
    look(directory, facts);
  } else {
    facts.directory.clear();
  }
  return facts;
}

std::string whyNotDelegated(const CgroupFacts& facts) {
  if (!facts.mounted) return "no cgroup v2 is mounted here";
  const std::string own = "its cgroup " + ipc::escape(facts.path);
  if (facts.directory.empty()) return own + " is not to be seen here";
  if (facts.machineRoot) return "it was started in the root of all cgroups, which is nobody's";
  if (!facts.writable) return own + " is not writable for it";
  if (!facts.domain) return own + " is for threads only";
  if (!facts.canKill) return "killing a cgroup takes Linux 5.14 or later";
  if (facts.told || facts.marked) return {};
  if (facts.systemd) return own + " is systemd's, and not delegated to it";
  const bool ownsNamespace = facts.superuser && facts.path == "/" && facts.ours;
  const bool givenToUser = !facts.superuser && facts.ours;
  return ownsNamespace || givenToUser ? "" : own + " is not delegated to it";
}

}  // namespace baton::daemon
