// Whether the cgroup (v2) that this process was started in is ours to divide: usable without harm to others.
//
// A cgroup has one manager. That the kernel lets us make cgroups in it does not make it ours: root may do so
// everywhere, and a user in all of his systemd units, which are his service manager's to manage. It is ours
// - if who started us says so (our unit has Delegate=yes, and starts batond with --delegated);
// - if systemd has marked it as delegated (the attribute user.delegate or trusted.delegate);
// - where no systemd manages cgroups: if it belongs to this user, who is not root; or, in a container, if it
//   is the root of the container's cgroups. The root of the machine's is nobody's.
#pragma once

#include <string>

namespace baton::daemon {

// What there is to be known.
struct CgroupFacts {
  bool mounted = false;      // v2 is, and this process has a place in it
  std::string path;          // that place, as /proc/self/cgroup has it; "/": the root, as far as we can see
  std::string directory;     // where it is to be seen; empty: nowhere
  bool machineRoot = false;  // the root of the whole machine
  bool domain = false;       // it may hold processes, not only threads
  bool canKill = false;      // it has cgroup.kill
  bool writable = false;
  bool ours = false;  // belongs to this user
  bool superuser = false;
  bool marked = false;   // as delegated
  bool told = false;     // to be delegated
  bool systemd = false;  // manages the cgroups here
};

// `told`: who started this process says that its cgroup is delegated to it. Reads a few small files.
CgroupFacts cgroupFacts(bool told);

// A sentence without a full stop; empty: it is ours.
std::string whyNotDelegated(const CgroupFacts& facts);

}  // namespace baton::daemon
