#include "ctl/map_jobs.h"

namespace baton::ctl {
namespace {

// For the bar: a hundred thousand names of files. An input that is longer is counted when its end comes
// nearer.
constexpr std::size_t kReadAheadBytes = std::size_t{8} << 20;

map::InputOptions inputOptions(const MapOptions& options) {
  const bool percent = options.halt.percent && options.halt.when != map::HaltPolicy::When::never;
  return {.delimiter = options.nulSeparated ? '\0' : '\n',
          .stdinFd = 0,
          .countFirst = percent,
          .readAheadBytes = options.bar ? kReadAheadBytes : 0};
}

}  // namespace

MapJobs::MapJobs(const MapOptions& options, const ipc::Surroundings& surroundings)
    : shellLine_(map::chooseShell(), surroundings.environment, surroundings.cwd),
      template_(options.commandLine.command, map::quotingOf(shellLine_.shell().kind)),
      input_(options.commandLine.sources, inputOptions(options)),
      tag_(options.tag) {}

map::Pull MapJobs::next(MapJob& job, std::uint32_t slot) {
  map::Arguments arguments;
  const auto pull = input_.next(arguments);
  if (pull != map::Pull::record) {
    return pull;
  }
  job.sequence = ++made_;
  job.slot = slot;
  job.line = template_.render(arguments, job.sequence, slot);
  if (tag_) job.tag = map::tagOf(arguments);
  return pull;
}

}  // namespace baton::ctl
