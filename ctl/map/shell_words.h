// Shell grammar as far as `map` needs it: which lines have nothing for a shell to interpret.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/map/shell.h"

namespace baton::ctl::map {

// The words that any POSIX-like shell would make of the line, if they need no expansion and no operator; else
// nothing. Understands '…', \c and "…" without $ ` \ !. Says nothing about lines that are merely unusual.
std::optional<std::vector<std::string>> plainWords(std::string_view line);

// A keyword or a builtin of a shell of that kind.
bool isBuiltin(std::string_view word, ShellKind kind);

}  // namespace baton::ctl::map
