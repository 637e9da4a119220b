// Whether this daemon and its tasks live only as long as their user is logged in.
#pragma once

#include <string>

namespace baton::daemon {

// What to tell who leaves work behind: one line where systemd ends this process at the user's logout, else
// nothing.
std::string logoutNotice();

// What that depends on.
struct LogoutFacts {
  std::string cgroups;       // /proc/self/cgroup
  bool lingers = false;      // the user manager stays without a login
  bool isRoot = false;       // logind spares root's sessions
  std::string logindConf{};  // logind.conf with its drop-ins behind it: a later line wins
};
std::string logoutNotice(const LogoutFacts& facts);

}  // namespace baton::daemon
