// `batonctl show`: all there is to know of tasks and batches.
#include <fmt/format.h>

#include "ctl/exit_code.h"
#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/verbs.h"
#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr Arguments::Spec kSpec{
    .verb = "show",
    .usage = "[OPTIONS] ID...",
    .description = "All there is to know of tasks and batches, a line for each thing.",
    .footer =
        "Exit code: 0 it is printed; 125 for an unknown id.\n"
        "\n"
        "Examples:\n"
        "  batonctl show 12\n"
        "  batonctl show --env last\n"
        "  batonctl --json show 12 | jq '.[0].peak_bytes'",
    .words = Arguments::Words::operands};

std::string limitText(std::uint64_t ns) {
  return ns == 0 ? "" : durationText(ns);
}

void addOptions(Fields& fields, wire::TaskOptions::Reader options) {
  const bool io = options.getLane() == wire::Lane::IO;
  fields.add("name", ipc::escape(options.getName().cStr()));
  fields.add(
      "lane",
      io ? "io" : fmt::format("cpu, {} slot{}", options.getSlots(), options.getSlots() == 1 ? "" : "s"));
  fields.add("priority", options.getPriority() == 0 ? "" : std::to_string(options.getPriority()));
  fields.add("time limit", limitText(options.getTimeLimitNs()));
  fields.add("queue limit",
             options.getQueueLimitNs() == 1 ? "start now or never" : limitText(options.getQueueLimitNs()));
  fields.add("grace", durationText(options.getGraceNs()));
  fields.add("attempts", options.getAttempts() <= 1 ? "" : fmt::format("at most {}", options.getAttempts()));
  fields.add("children", options.getDetachChildren() ? "detached" : "");
  fields.add("stdin", textOf(options.getStdinPath()));
  fields.add("stdout", textOf(options.getStdoutPath()));
  fields.add("stderr", textOf(options.getStderrPath()));
}

std::string endText(wire::TaskRow::Reader row) {
  if (!hasEnded(row.getState())) return "";
  const auto outcome = outcomeOf(row);
  std::string text = std::to_string(outcome.code);
  if (row.getCause() == wire::Cause::SIGNALLED) {
    text += fmt::format(" (signal {}{})", signalName(row.getSignal()),
                        row.getCoreDumped() ? ", core dumped" : "");
  }
  return outcome.line.empty() ? text : text + " (" + outcome.line + ")";
}

std::string stateText(wire::TaskRow::Reader row) {
  std::string text = stateName(row.getState());
  if (row.getStopped()) text += ", stopped by a signal";
  if (row.getParked()) text += ", parked: its slot is given back while it waits";
  if (row.getOver()) text += ", over the budget";
  return text;
}

std::string whereText(wire::TaskRow::Reader row) {
  if (row.getPid() == 0) return "";
  std::string text = fmt::format("pid {}, worker {}", row.getPid(), row.getWorker());
  return row.getSlot() == 0 ? text : text + fmt::format(", slot {}", row.getSlot());
}

std::string escapedText(wire::TaskRow::Reader row) {
  std::string text;
  for (const auto pid : row.getEscaped()) text += (text.empty() ? "" : " ") + std::to_string(pid);
  return text;
}

void addTimes(Fields& fields, wire::TaskRow::Reader row) {
  fields.add("submitted", calendarText(row.getSubmittedNs()));
  fields.add("started", calendarText(row.getStartedNs()));
  fields.add("ended", calendarText(row.getEndedNs()));
  if (!hasEnded(row.getState()) || row.getStartedNs() == 0) return;
  fields.add("wall time", durationText(row.getWallNs()));
  fields.add("cpu time", fmt::format("{} user, {} system", durationText(row.getUserNs()),
                                     durationText(row.getSystemNs())));
  if (row.getPeakBytes() > 0) {
    fields.add("peak memory",
               (row.getPeakIsUpperBound() ? "at most " : "") + ipc::formatSize(row.getPeakBytes()));
  }
}

void addEnvironment(Fields& fields, wire::TaskRow::Reader row, bool full) {
  if (!row.hasEnvironment()) return;
  const auto environment = row.getEnvironment();
  if (!full) {
    fields.add("environment", fmt::format("{} variables (--env shows them)", environment.size()));
    return;
  }
  for (const auto variable : environment) fields.add("environment", textOf(variable));
}

std::string taskPage(wire::TaskRow::Reader row, bool environment) {
  Fields fields;
  fields.add("task", idText(row));
  fields.add("state", stateText(row));
  fields.add("exit code", endText(row));
  fields.add("command", commandText(row.getArgv()));
  fields.add("directory", textOf(row.getCwd()));
  addOptions(fields, row.getOptions());
  fields.add("attempt", row.getAttempt() <= 1 ? "" : std::to_string(row.getAttempt()));
  fields.add("runs as", whereText(row));
  fields.add("uid", std::to_string(row.getUid()));
  fields.add("attached", row.getAttached() ? "yes: it ends with its client" : "");
  addTimes(fields, row);
  fields.add("output", row.getOutputBytes() == 0 ? "" : ipc::formatSize(row.getOutputBytes()));
  fields.add("escaped", escapedText(row));
  addEnvironment(fields, row, environment);
  return fields.text();
}

std::string batchPage(wire::BatchRow::Reader row) {
  Fields fields;
  fields.add("batch", std::to_string(row.getId()));
  fields.add("state", batchStateName(row));
  fields.add("tasks", batchProgress(row));
  if (hasEnded(row)) fields.add("exit code", std::to_string(row.getExitCode()));
  const auto counts = row.getCounts();
  for (unsigned state = 0; state < counts.size(); ++state) {
    fields.add(stateName(static_cast<wire::State>(state)),
               counts[state] == 0 ? "" : std::to_string(counts[state]));
  }
  fields.add("first command", commandText(row.getSample()));
  addOptions(fields, row.getOptions());
  fields.add("uid", std::to_string(row.getUid()));
  fields.add("attached", row.getAttached() ? "yes: it ends with its client" : "");
  fields.add("submitted", calendarText(row.getSubmittedNs()));
  fields.add("ended", calendarText(row.getEndedNs()));
  return fields.text();
}

}  // namespace

int showVerb(int argc, char** argv) {
  CommonOptions common;
  bool environment = false;
  Arguments arguments(kSpec);
  arguments.flag("--env", "the environment too (JSON always has it)", environment);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  const auto refs = requiredRefs("show", arguments.words(), client);
  JsonArray array;
  // One by one: with its environment a row may be as large as a frame may be.
  for (const TaskRef& ref : refs) {
    ipc::Message request;
    writeSelection({&ref, 1}, request.frame().initShow());
    const auto reply = client.call(request);
    for (const auto row : reply.get().getListing().getRows()) {
      if (common.json) {
        array.add(toJson(row));
        continue;
      }
      if (ref != refs.front()) print("\n");
      print(row.isBatch() ? batchPage(row.getBatch()) : taskPage(row.getTask(), environment));
    }
  }
  if (common.json) array.finish();
  return 0;
}

}  // namespace baton::ctl
