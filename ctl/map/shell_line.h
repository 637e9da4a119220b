// From a shell line to what is executed: the shell, or directly the program where a shell would only do the
// same.
//
// Directly means: every word is plain or quoted without anything to expand; the first one is no keyword or
// builtin of the shell, no exported function, and a program that exists; the shell would read no start-up
// file that could define something else (BASH_ENV, ENV for ksh, ~/.zshenv; fish and csh always do). All else
// goes to the shell, so that output, messages and exit codes are the shell's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ctl/map/shell.h"

namespace baton::ctl::map {

// Remembers where programs were found. One thread.
class ShellLine {
 public:
  // `environment` is that of the jobs, as NAME=value. `directory` is the jobs' working directory; empty: our
  // own.
  ShellLine(Shell shell, const std::vector<std::string>& environment, std::string directory = "");

  // argv of the job. Throws Error(tooLarge) for a word or line that the kernel would not take (128 KiB).
  std::vector<std::string> toArgv(const std::string& line);
  const Shell& shell() const { return shell_; }

 private:
  bool mayBeDirect(const std::string& program);
  std::optional<std::string> find(const std::string& program) const;
  bool isProgram(const std::string& program) const;

  Shell shell_;
  std::string directory_;
  std::vector<std::string> path_;
  std::vector<std::string> functions_;  // exported by bash, sorted
  bool shellAlways_ = false;
  std::unordered_map<std::string, bool> direct_;
};

}  // namespace baton::ctl::map
