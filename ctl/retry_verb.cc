// `batonctl retry`.
#include <fmt/format.h>

#include <algorithm>

#include "ctl/batch_tasks.h"
#include "ctl/exit_code.h"
#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ctl/verbs.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "retry",
    .usage = "[OPTIONS] ID...",
    .description =
        "Run tasks that have ended once more, with the same command, directory, environment and options, "
        "as new\ntasks, and print the new ids, one a line. Of a batch: those of its tasks that failed.",
    .footer =
        "Exit code: 0 they are accepted; 125 for an unknown id, or a task that has not ended.\n"
        "\n"
        "Examples:\n"
        "  batonctl retry 12\n"
        "  batonctl wait $(batonctl retry 15-19)",
    .words = Arguments::Words::operands};

// As many as a reply of ids surely has room for.
constexpr std::size_t kAtOnce = 10'000;

std::vector<TaskRef> tasksToRetry(ipc::Client& client, const std::vector<TaskRef>& refs) {
  std::vector<TaskRef> tasks;
  for (const TaskRef& ref : refs) {
    const bool batch = forEachTask(client, ref, [&](ipc::wire::TaskRow::Reader row) {
      const auto state = row.getState();
      if (hasEnded(state) && state != ipc::wire::State::SUCCEEDED) tasks.push_back({ref.id, row.getIndex()});
    });
    if (!batch) tasks.push_back(ref);
  }
  return tasks;
}

}  // namespace

int retryVerb(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  const auto tasks = tasksToRetry(client, requiredRefs("retry", arguments.words(), client));
  if (tasks.empty()) complain("none of these tasks has failed");
  JsonArray array;
  for (std::size_t first = 0; first < tasks.size(); first += kAtOnce) {
    const auto some = std::span(tasks).subspan(first, std::min(kAtOnce, tasks.size() - first));
    ipc::Message request;
    writeSelection(some, request.frame().initRetry());
    const auto reply = client.call(request);
    std::vector<TaskRef> made;
    for (const auto id : reply.get().getSubmittedMany()) made.push_back({id, 0});
    tellIds(client, made, [&] {
      for (const TaskRef& task : made) {
        common.json ? array.add(fmt::format("{{\"type\":\"task\",\"id\":\"{}\"}}", task.id))
                    : print(fmt::format("{}\n", task.id));
      }
    });
  }
  if (common.json) array.finish();
  return 0;
}

}  // namespace baton::ctl
