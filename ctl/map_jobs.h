// The jobs of a `map`, made one by one as they are asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/map/input.h"
#include "ctl/map/shell_line.h"
#include "ctl/map/template.h"
#include "ctl/map_options.h"
#include "ipc/surroundings.h"

namespace baton::ctl {

struct MapJob {
  std::uint64_t sequence = 0;  // from 1
  std::uint32_t slot = 0;      // {%}, from 1; 0: not asked for
  std::string line;            // for a shell
  std::string tag;
  std::vector<std::string> argv;
};

class MapJobs {
 public:
  // Opens the input's files. Throws Error(usage).
  MapJobs(const MapOptions& options, const ipc::Surroundings& surroundings);

  // {%} stands in the command: a job can be made only when the slot is known that it will have.
  bool usesSlot() const { return template_.usesSlot(); }
  // Fills `job` but for argv; `slot` is what {%} stands for. Never blocks. Throws as map::Input.
  map::Pull next(MapJob& job, std::uint32_t slot);
  // Fills argv. Throws Error(tooLarge).
  void resolve(MapJob& job) { job.argv = shellLine_.toArgv(job.line); }

  // To be polled for input when next() would block.
  int waitFd() const { return input_.waitFd(); }
  int readAhead() { return input_.readAhead(); }
  std::optional<std::uint64_t> total() const { return input_.total(); }
  std::uint64_t made() const { return made_; }
  bool readsStdin() const { return input_.readsStdin(); }
  // A value had a NUL that was replaced.
  bool replacedNul() const { return input_.replacedNul(); }

 private:
  map::ShellLine shellLine_;
  map::Template template_;
  map::Input input_;
  bool tag_;
  std::uint64_t made_ = 0;
};

}  // namespace baton::ctl
