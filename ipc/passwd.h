// The password database, for programs that are linked statically: getpwuid would load libraries, and can do
// that only with the very libc that the program was built with.
#pragma once

#include <sys/types.h>

#include <string>

namespace baton::ipc {

// The home directory and the name of `uid`; "" if nobody knows it. What `file` does not name (LDAP and its
// kind) the program `getent` is asked for, which takes some milliseconds.
std::string passwdHome(uid_t uid, const char* file = "/etc/passwd");
std::string passwdName(uid_t uid, const char* file = "/etc/passwd");

}  // namespace baton::ipc
