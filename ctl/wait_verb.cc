// `batonctl wait`.
#include <fmt/format.h>

#include <algorithm>

#include "ctl/exit_code.h"
#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "wait",
    .usage = "[OPTIONS] [ID...]",
    .description = "Wait until tasks and batches have ended; without ids: all of yours that have not ended.",
    .footer =
        "Exit code: that of the task: its own, 128+N if signal N ended it, 124 time limit, 137 out of "
        "memory,\n"
        "143 cancelled, 125 lost; of several the highest. 124 too if --timeout has run out; 125 for an "
        "unknown\n"
        "id. With --any that of the one that ended, whose id is printed.\n"
        "\n"
        "Examples:\n"
        "  id=$(batonctl submit make) && batonctl wait $id\n"
        "  batonctl wait                      everything of mine\n"
        "  batonctl wait --timeout 10m 5-9\n"
        "  next=$(batonctl wait --any 5-9)    whichever ends first",
    .words = Arguments::Words::operands};

// More lines than this about failures would hide the first of them.
constexpr unsigned kLines = 10;

struct Summary {
  int code = 0;
  unsigned lines = 0;

  void add(ipc::wire::Row::Reader row) {
    if (row.isBatch()) {
      code = std::max(code, row.getBatch().getExitCode());
      return;
    }
    const auto outcome = outcomeOf(row.getTask());
    code = std::max(code, outcome.code);
    if (!outcome.line.empty() && ++lines <= kLines) complain(outcome.line);
  }
};

bool rowEnded(ipc::wire::Row::Reader row) {
  return row.isBatch() ? hasEnded(row.getBatch()) : hasEnded(row.getTask().getState());
}

std::string rowId(ipc::wire::Row::Reader row) {
  return row.isBatch() ? std::to_string(row.getBatch().getId()) : idText(row.getTask());
}

int report(ipc::wire::Listing::Reader listing, bool any, bool json) {
  Summary summary;
  JsonArray array;
  for (const auto row : listing.getRows()) {
    if (!rowEnded(row)) continue;
    summary.add(row);
    if (json) array.add(toJson(row));
    if (any && !json) print(rowId(row) + "\n");
  }
  if (json) array.finish();
  if (summary.lines > kLines) complain(fmt::format("and {} more", summary.lines - kLines));
  return summary.code;
}

}  // namespace

int waitVerb(int argc, char** argv) {
  CommonOptions common;
  bool any = false;
  std::optional<std::chrono::nanoseconds> timeout;
  Arguments arguments(kSpec);
  arguments.flag("--any", "return at the first end, and print its id", any);
  arguments.option("--timeout,-w", "TIME", "wait at most that long (exit 124)", timeout);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;

  auto client = connect(common);
  const auto refs = parseRefs(arguments.words(), client);
  ipc::Message request;
  auto wait = request.frame().initWait();
  writeSelection(refs, wait.initSelection());
  wait.getSelection().setAll(refs.empty());
  wait.setAny(any);
  if (timeout) wait.setTimeoutNs(static_cast<std::uint64_t>(timeout->count()));
  WaitingHint hint(client, refs);
  try {
    const auto reply = awaitReply(client, client.send(request), hint);
    return report(reply.get().getListing(), any, common.json);
  } catch (const Error& error) {
    if (error.code() != Code::timedOut) throw;
    complain(error.what());
    return kExitTimedOut;
  }
}

}  // namespace baton::ctl
