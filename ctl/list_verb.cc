// `batonctl list`: the tasks there are.
#include "ctl/list_view.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "list",
    .usage = "[OPTIONS]",
    .description =
        "The tasks there are, oldest first: all that have not ended, and the last 20 that have. A batch is "
        "one\n"
        "line. EXIT is what `batonctl wait` would return, AGE the time since it was submitted, TIME how long "
        "it\n"
        "runs or ran.",
    .footer =
        "Exit code: 0 it is printed, even if there is nothing or no daemon runs.\n"
        "\n"
        "Examples:\n"
        "  batonctl\n"
        "  batonctl list -a\n"
        "  batonctl list --batch 12 --unfinished\n"
        "  batonctl cancel $(batonctl list -q --unfinished)\n"
        "  batonctl --json list -a | jq -r '.[] | select(.state == \"failed\") | .id'",
    .words = Arguments::Words::none};

}  // namespace

int listVerb(int argc, char** argv) {
  CommonOptions common;
  ListOptions options;
  std::optional<std::string> batch;
  Arguments arguments(kSpec);
  arguments.flag("-a,--all", "every task that is still known", options.all);
  arguments.flag("-u,--unfinished", "only what has not ended", options.unfinished);
  arguments.number("-l,--lines", "N", "only the N newest", 1, kMostLines, options.lines);
  arguments.option("--batch", "ID", "the tasks of this batch", batch);
  arguments.flag("-q,--quiet", "print ids only", options.idsOnly);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  options.json = common.json;

  auto client = tryConnect(common);
  if (!client) {
    ListView(options).finish();
    return 0;
  }
  if (batch) {
    const auto refs = parseRefs({&*batch, 1}, *client);
    if (refs.size() != 1 || refs[0].index != 0) {
      throw Error(Code::usage, "list: --batch " + *batch + ": expected the id of one batch");
    }
    options.batch = refs[0].id;
  }
  list(*client, options);
  return 0;
}

}  // namespace baton::ctl
