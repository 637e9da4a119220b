// `batonctl run`: a command on a slot of the pool, as if it had been called directly.
#include <fmt/format.h>

#include <csignal>
#include <cstring>

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/run_session.h"
#include "ctl/signal_source.h"
#include "ctl/submit_options.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "run",
    .usage = "[OPTIONS] CMD [ARG...]",
    .description =
        "Run CMD on a slot of the pool as if it had been called directly: with this directory, environment,\n"
        "limits, and these very descriptors; on a terminal with a terminal of its own, so that Ctrl-C, "
        "Ctrl-Z,\n"
        "editors, password prompts and `&` work. Waits for a slot, then for CMD. It ends with batonctl.",
    .footer =
        "Signals sent to batonctl go to CMD. A second Ctrl-C, a second or more after the first, cancels it.\n"
        "\n"
        "Exit code: that of CMD; 128+N if signal N ended it; 1 with -n: no slot is free; 124 time limit;\n"
        "125 baton itself; 126 CMD cannot be executed; 127 not found; 137 out of memory; 143 cancelled.\n"
        "\n"
        "Examples:\n"
        "  batonctl run make\n"
        "  batonctl run --cpus 4 make -j4 | tee build.log\n"
        "  batonctl run -n gzip big.log || echo 'busy now'\n"
        "  batonctl run sh -c 'sort a | uniq > b'    # a pipeline needs a shell",
    .words = Arguments::Words::command};

// What the shell would have said had it seen the command end by a signal: of that only the code is left.
std::string signalLine(ipc::wire::TaskRow::Reader row, bool asTold) {
  if (row.getCause() != ipc::wire::Cause::SIGNALLED || row.getSignal() == SIGPIPE || asTold) return "";
  const char* words = ::sigdescr_np(row.getSignal());
  return fmt::format("the command ended by signal {}{}{}", signalName(row.getSignal()),
                     words != nullptr ? fmt::format(": {}", words) : "",
                     row.getCoreDumped() ? " (core dumped)" : "");
}

}  // namespace

int runVerb(int argc, char** argv) {
  SubmitOptions options;
  CommonOptions common;
  Arguments arguments(kSpec);
  options.declareTask(arguments);
  options.declareSurroundings(arguments);
  options.declareFiles(arguments);
  arguments.common(common, Arguments::Json::no);
  if (!arguments.parse(argc, argv)) return 0;
  options.check();
  if (arguments.words().empty()) {
    throw Error(Code::usage, "run: which command? `batonctl run --help` explains");
  }
  RunSession session({options, arguments.words(), common.which});
  const auto end = session.run();
  if (end.signal && end.wholeGroup) endGroupBySignal(*end.signal);
  if (end.signal) endBySignal(*end.signal);
  const auto row = end.frame.get().getEnded();
  const auto outcome = outcomeOf(row, options.refuseToWait);
  const auto line = outcome.line.empty() ? signalLine(row, end.asTold) : outcome.line;
  if (!line.empty()) complain(line);
  return outcome.code;
}

}  // namespace baton::ctl
