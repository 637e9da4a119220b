// Where the arguments of `map` come from, as the command line says it.
#pragma once

#include <string>
#include <vector>

namespace baton::ctl::map {

struct Source {
  bool isFile = false;
  std::string path;                 // of a file; "-" is stdin
  std::vector<std::string> values;  // of :::
  bool linked = false;              // :::+ ::::+: steps together with the source before it
};

struct CommandLine {
  std::vector<std::string> command;  // words before the first ::: or ::::
  std::vector<Source> sources;       // never empty: stdin if nothing else is said
};

// `words` is all that follows map's own options, `files` the values of -a, which come first. A lone :::
// without values counts as absent. Unlike GNU parallel a value of ::: is never split at newlines.
CommandLine splitCommandLine(const std::vector<std::string>& words,
                             const std::vector<std::string>& files = {});

}  // namespace baton::ctl::map
