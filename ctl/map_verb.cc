// `batonctl map`: one command for each value, on all slots.
#include "ctl/map_engine.h"
#include "ctl/map_options.h"
#include "ctl/output.h"
#include "ctl/signal_source.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

#include <poll.h>

namespace baton::ctl {
namespace {

// Tagged as the jobs' own output would be, which is what GNU parallel does.
void printLines(const MapOptions& options, const ipc::Surroundings& surroundings) {
  MapJobs jobs(options, surroundings);
  map::Output output({.tag = options.tag}, [](int, std::string_view bytes) { print(bytes); });
  MapJob job;
  while (true) {
    switch (jobs.next(job, 1)) {
      case map::Pull::record:
        output.begin(job.sequence, std::move(job.tag));
        output.write(job.sequence, map::Output::Stream::out, job.line + "\n");
        output.end(job.sequence);
        break;
      case map::Pull::end:
        return;
      case map::Pull::wouldBlock: {
        flushOutput();
        pollfd wait{jobs.waitFd(), POLLIN, 0};
        ::poll(&wait, 1, -1);
        break;
      }
    }
  }
}

}  // namespace

int mapVerb(int argc, char** argv) {
  MapOptions options;
  if (!parseMapOptions(options, argc, argv)) return 0;
  const auto surroundings = options.task.surroundings();
  if (options.dryRun) {
    printLines(options, surroundings);
    return 0;
  }
  MapEngine engine(options, surroundings);
  const auto end = engine.run();
  if (end.signal) endBySignal(*end.signal);
  return end.code;
}

}  // namespace baton::ctl
