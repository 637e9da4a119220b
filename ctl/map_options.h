// The command line of `batonctl map`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/arguments.h"
#include "ctl/map/halt.h"
#include "ctl/map/sources.h"
#include "ctl/map_window.h"
#include "ctl/submit_options.h"

namespace baton::ctl {

struct MapOptions {
  SubmitOptions task;
  CommonOptions common;
  JobCount jobs;
  bool jobsAsked = false;
  bool nulSeparated = false;
  std::vector<std::string> files;  // -a
  bool keepOrder = false;
  bool tag = false;
  bool bar = false;
  bool dryRun = false;
  map::HaltPolicy halt;
  std::optional<std::string> jobLog;
  map::CommandLine commandLine;
};

// False: --help was printed. Throws Error(usage).
[[nodiscard]] bool parseMapOptions(MapOptions& options, int argc, char** argv);

}  // namespace baton::ctl
