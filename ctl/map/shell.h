// Which shell runs the lines of `map`.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "ctl/map/quote.h"

namespace baton::ctl::map {

enum class ShellKind { sh, bash, ksh, zsh, fish, csh, other };

struct Shell {
  std::string path;  // a path, or a name to be looked up in PATH
  ShellKind kind = ShellKind::sh;
};

// By the last component of `path`; `other` for what is no known shell.
ShellKind shellKind(const std::string& path);
Quoting quotingOf(ShellKind kind);

// The path of the shell that `process` is, or nothing if it is none or cannot be seen.
std::optional<std::string> shellOfProcess(pid_t process);

// BATON_SHELL, else the shell that started us, else SHELL, else /bin/sh. Null or empty is unset.
struct ShellHints {
  const char* batonShell = nullptr;
  std::optional<std::string> parentShell;
  const char* shell = nullptr;
};
Shell chooseShell(const ShellHints& hints);
// The same with the hints of this process.
Shell chooseShell();

}  // namespace baton::ctl::map
