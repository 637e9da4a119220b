// `batonctl events`: what happens, as it happens.
#include <fmt/format.h>

#include "ctl/exit_code.h"
#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

using ipc::wire::TaskEvent;

constexpr Arguments::Spec kSpec{
    .verb = "events",
    .usage = "[OPTIONS]",
    .description =
        "Print what happens to your tasks as it happens, a line each, until Ctrl-C or the daemon's end. "
        "It takes\nno part in anything: a reader too slow is told how many it has missed.",
    .footer =
        "Exit code: 130 ended by Ctrl-C; 125 no daemon runs, or it has ended.\n"
        "\n"
        "Examples:\n"
        "  batonctl events\n"
        "  batonctl --json events | jq -r 'select(.event == \"ended\" and .row.exit_code != 0) | .row.id'",
    .words = Arguments::Words::none};

std::string timeOfDay(std::uint64_t ns) {
  const std::string all = calendarText(ns);
  constexpr std::size_t kDate = sizeof("2026-01-31 ") - 1;
  return all.size() > kDate ? all.substr(kDate) : all;
}

std::string endText(ipc::wire::TaskRow::Reader row) {
  std::string text = fmt::format("{}, exit {}", stateName(row.getState()), outcomeOf(row).code);
  if (row.getWallNs() > 0) text += ", " + durationText(row.getWallNs());
  return text;
}

std::string whatHappened(TaskEvent::Reader event) {
  const auto row = event.getRow();
  const std::string task = "task " + idText(row);
  const std::string command = row.getArgv().size() > 0 ? ": " + commandText(row.getArgv()) : "";
  switch (event.getKind()) {
    case TaskEvent::Kind::SUBMITTED:
      return task + " submitted" + command;
    case TaskEvent::Kind::STARTED:
      return task + (row.getSlot() > 0 ? fmt::format(" started on slot {}", row.getSlot()) : " started") +
             command;
    case TaskEvent::Kind::ENDED:
      return task + " ended (" + endText(row) + ")" + command;
    case TaskEvent::Kind::STATE:
      return fmt::format("{} is {}{}", task, stateName(row.getState()), command);
    case TaskEvent::Kind::MISSED:
      return fmt::format("{} events were missed", event.getMissed());
    case TaskEvent::Kind::DAEMON:
      return ipc::escape(event.getText().cStr());
  }
  return "";
}

void show(TaskEvent::Reader event, bool json) {
  print(json ? toJson(event) + "\n" : timeOfDay(event.getTimeNs()) + "  " + whatHappened(event) + "\n");
  flushOutput();
}

}  // namespace

int eventsVerb(int argc, char** argv) {
  CommonOptions common;
  bool follow = true;
  bool batchTasks = false;
  Arguments arguments(kSpec);
  arguments.flag("-f,--follow", "what it always does", follow);
  arguments.flag("--batch-tasks", "also the tasks of batches, one by one", batchTasks);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  ipc::Message request;
  request.frame().initEvents().setBatchTasks(batchTasks);
  client.call(request, [&common](ipc::wire::Frame::Reader frame) {
    if (frame.isTaskEvent()) show(frame.getTaskEvent(), common.json);
  });
  return 0;
}

}  // namespace baton::ctl
