// `batonctl worker list|recycle`.
#include <fmt/format.h>

#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "worker",
    .usage = "[OPTIONS] [list|recycle]",
    .description =
        "list: the worker processes, what they run, and their slots (the default).\n"
        "recycle: replace every worker after its present task.",
    .footer =
        "Examples:\n"
        "  batonctl worker list\n"
        "  batonctl --json worker list | jq '.[].pid'\n"
        "  batonctl worker recycle",
    .words = Arguments::Words::operands};

std::string orDash(std::uint64_t number) {
  return number == 0 ? "-" : std::to_string(number);
}

void printWorkers(capnp::List<ipc::wire::WorkerRow>::Reader workers) {
  const std::uint64_t now = calendarNowNs();
  Table table({{"ID", Table::Align::right},
               {"PID", Table::Align::right},
               {"UID", Table::Align::right},
               {"LANE"},
               {"SLOT", Table::Align::right},
               {"STATE"},
               {"TASK", Table::Align::right},
               {"RUN", Table::Align::right},
               {"AGE", Table::Align::right},
               {"RUNTIME"}},
              terminalWidth(1));
  for (const auto worker : workers) {
    table.add({std::to_string(worker.getId()), std::to_string(worker.getPid()),
               std::to_string(worker.getUid()), worker.getLane() == ipc::wire::Lane::IO ? "io" : "cpu",
               orDash(worker.getSlot()), ipc::escape(worker.getState().cStr()), orDash(worker.getTask()),
               std::to_string(worker.getTasksRun()), durationText(worker.getStartedNs(), now),
               ipc::escape(worker.getRuntime().cStr())});
  }
  print(table.take());
}

int list(ipc::Client& client, bool json) {
  ipc::Message request;
  request.frame().setWorkers();
  const auto reply = client.call(request);
  const auto workers = reply.get().getWorkersReply();
  if (!json) {
    printWorkers(workers);
    return 0;
  }
  JsonArray array;
  for (const auto worker : workers) array.add(toJson(worker));
  array.finish();
  return 0;
}

}  // namespace

int workerVerb(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  const auto& words = arguments.words();
  const std::string what = words.empty() ? "list" : words[0];
  if (words.size() > 1 || (what != "list" && what != "recycle")) {
    throw Error(Code::usage, "worker: expected `list` or `recycle`, not `" + words.back() + "`");
  }
  auto client = connect(common);
  if (what == "list") return list(client, common.json);
  ipc::Message request;
  request.frame().setRecycleWorkers();
  client.call(request);
  return 0;
}

}  // namespace baton::ctl
