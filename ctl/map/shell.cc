#include "ctl/map/shell.h"

#include <limits.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace baton::ctl::map {
namespace {

std::string lastComponent(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

ShellKind shellKind(const std::string& path) {
  struct Known {
    std::string_view name;
    ShellKind kind;
  };
  static constexpr std::array<Known, 16> kKnown{{
      {"sh", ShellKind::sh},
      {"dash", ShellKind::sh},
      {"ash", ShellKind::sh},
      {"posh", ShellKind::sh},
      {"bash", ShellKind::bash},
      {"ksh", ShellKind::ksh},
      {"ksh93", ShellKind::ksh},
      {"mksh", ShellKind::ksh},
      {"lksh", ShellKind::ksh},
      {"oksh", ShellKind::ksh},
      {"loksh", ShellKind::ksh},
      {"zsh", ShellKind::zsh},
      {"zsh5", ShellKind::zsh},
      {"fish", ShellKind::fish},
      {"csh", ShellKind::csh},
      {"tcsh", ShellKind::csh},
  }};
  const std::string name = lastComponent(path);
  for (const Known& known : kKnown) {
    if (known.name == name) return known.kind;
  }
  return ShellKind::other;
}

Quoting quotingOf(ShellKind kind) {
  if (kind == ShellKind::fish) return Quoting::fish;
  return kind == ShellKind::csh ? Quoting::csh : Quoting::posix;
}

std::optional<std::string> shellOfProcess(pid_t process) {
  const std::string directory = "/proc/" + std::to_string(process);
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink((directory + "/exe").c_str(), target.data(), target.size());
  if (length <= 0 || static_cast<std::size_t>(length) >= target.size()) return std::nullopt;
  std::string path(target.data(), static_cast<std::size_t>(length));
  static constexpr std::string_view kDeleted = " (deleted)";  // after an upgrade of the running shell
  if (path.ends_with(kDeleted)) path.erase(path.size() - kDeleted.size());
  if (shellKind(path) == ShellKind::other) return std::nullopt;

  // A shell called by the name of sh behaves as sh, whatever program it is.
  std::ifstream comm(directory + "/comm");
  std::string name;
  if (std::getline(comm, name) && name == "sh") return "/bin/sh";
  return path;
}

Shell chooseShell(const ShellHints& hints) {
  const auto isSet = [](const char* value) { return value != nullptr && *value != '\0'; };
  std::string path = "/bin/sh";
  if (isSet(hints.batonShell)) {
    path = hints.batonShell;
  } else if (hints.parentShell) {
    path = *hints.parentShell;
  } else if (isSet(hints.shell)) {
    path = hints.shell;
  }
  const ShellKind kind = shellKind(path);
  return {std::move(path), kind};
}

Shell chooseShell() {
  return chooseShell({std::getenv("BATON_SHELL"), shellOfProcess(::getppid()), std::getenv("SHELL")});
}

}  // namespace baton::ctl::map
