// `batonctl status`.
#include <fmt/format.h>

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

using ipc::wire::Status;

constexpr Arguments::Spec kSpec{
    .verb = "status",
    .usage = "[OPTIONS]",
    .description =
        "The state of the daemon: its slots and why it has that many, what runs and waits, what it keeps, "
        "and\nwhat could not be had.",
    .footer =
        "Exit code: 0 it is printed; 125 no daemon runs.\n"
        "\n"
        "Examples:\n"
        "  batonctl status\n"
        "  batonctl --json status | jq .slots_used",
    .words = Arguments::Words::none};

std::string slotsText(Status::Reader status) {
  std::string text = fmt::format("{} of {} in use", status.getSlotsUsed(), status.getSlots());
  if (status.getSlotsOver() > 0) text += fmt::format(", {} over", status.getSlotsOver());
  if (status.getSlotsReason().size() > 0) text += " (" + ipc::escape(status.getSlotsReason().cStr()) + ")";
  return text;
}

std::string tasksText(Status::Reader status) {
  std::string text = fmt::format("{} running, {} queued", status.getRunning(), status.getQueued());
  if (status.getHeld() > 0) text += fmt::format(", {} held", status.getHeld());
  if (status.getParked() > 0) text += fmt::format(", {} parked", status.getParked());
  return text +
         fmt::format("; {} ended since the start, {} kept", status.getEndedEver(), status.getFinishedKept());
}

std::string workersText(Status::Reader status) {
  std::string text = fmt::format("{} now, {} started", status.getWorkers(), status.getWorkersStarted());
  if (status.getWorkersLost() > 0) text += fmt::format(", {} lost", status.getWorkersLost());
  if (status.getStrays() > 0) text += fmt::format(", {} stray processes ended", status.getStrays());
  return text;
}

std::string connectionsText(Status::Reader status) {
  std::string text = fmt::format("{}", status.getConnections());
  if (status.getBadFrames() > 0)
    text += fmt::format(", {} closed for protocol violations", status.getBadFrames());
  if (status.getSlowClosed() > 0) text += fmt::format(", {} for being too slow", status.getSlowClosed());
  if (status.getInFlightBytes() > 0) {
    text += fmt::format("; {} of {} in flight", ipc::formatSize(status.getInFlightBytes()),
                        ipc::formatSize(status.getInFlightLimitBytes()));
  }
  return text;
}

const char* phase(Status::Reader status) {
  if (status.getStopping()) return "stopping";
  return status.getDraining() ? "draining: takes no new work (`batonctl resume` undoes it)" : "";
}

std::string page(Status::Reader status) {
  Fields fields;
  fields.add("daemon", fmt::format("batond {}, pid {}, {} mode, up {}",
                                   ipc::escape(status.getVersion().cStr()), status.getPid(),
                                   ipc::escape(status.getMode().cStr()), durationText(status.getUptimeNs())));
  fields.add("state", phase(status));
  fields.add("slots", slotsText(status));
  fields.add("io lane", fmt::format("{} of {}", status.getIoRunning(), status.getIoLimit()));
  fields.add("tasks", tasksText(status));
  fields.add("workers", workersText(status));
  fields.add("connections", connectionsText(status));
  fields.add("memory",
             fmt::format("{}; {} hold the surroundings of tasks", ipc::formatSize(status.getRssBytes()),
                         ipc::formatSize(status.getContextBytes())));
  fields.add("logs", fmt::format("{} of {}", ipc::formatSize(status.getLogBytes()),
                                 ipc::formatSize(status.getLogLimitBytes())));
  fields.add("end of tasks", ipc::escape(status.getTreeEnd().cStr()));
  fields.add("socket", ipc::escape(status.getSocket().cStr()));
  fields.add("directory", ipc::escape(status.getStateDirectory().cStr()));
  for (const auto note : status.getNotes()) fields.add("note", ipc::escape(note.cStr()));
  return fields.text();
}

}  // namespace

int statusVerb(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().setStatus();
  const auto reply = client.call(request);
  const auto status = reply.get().getStatusReply();
  print(common.json ? toJson(status) + "\n" : page(status));
  return 0;
}

}  // namespace baton::ctl
