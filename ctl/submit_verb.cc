// `batonctl submit`: leaves one command, or one for each line of a file, to the daemon.
#include <fmt/format.h>

#include "ctl/context_source.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ctl/submit_each.h"
#include "ctl/submit_options.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "submit",
    .usage = "[OPTIONS] CMD [ARG...]\n       batonctl submit --each FILE|- [OPTIONS] [CMD [ARG...]]",
    .description =
        "Leave CMD to be run when a slot is free, with this directory, environment and limits, and print "
        "its\n"
        "id. It goes on when you log out of this terminal; what it prints is kept for `batonctl logs`.\n"
        "\n"
        "With --each every line of FILE (- is stdin) is a task: CMD with the line put in for {}, as `map` "
        "does\n"
        "it, or without CMD the line itself as a shell line. All of them are one batch with one id.",
    .footer =
        "Options end at CMD: `batonctl submit ls -l` needs no `--`. CMD is run as it stands, by no shell: "
        "for a\n"
        "pipeline say  batonctl submit sh -c 'a | b'.\n"
        "\n"
        "Exit code: 0 it is accepted; 125 it is not. With --wait that of CMD: its own, 128+N if signal N "
        "ended\n"
        "it, 1 with -n and no free slot, 124 time limit, 126, 127, 137 out of memory, 143 cancelled; of "
        "several\n"
        "the highest.\n"
        "\n"
        "Examples:\n"
        "  batonctl submit make -C ~/project check\n"
        "  id=$(batonctl submit --name backup -p -5 tar czf /backup/home.tgz .); batonctl wait $id\n"
        "  batonctl submit --io --timeout 5m -o page.html curl -s https://example.org\n"
        "  find . -name '*.png' | batonctl submit --each - optipng {}",
    .words = Arguments::Words::command};

struct Options {
  SubmitOptions task;
  CommonOptions common;
  std::optional<std::string> each;
  bool nulSeparated = false;
  bool wait = false;
};

void parse(Options& options, Arguments& arguments, int argc, char** argv, bool& help) {
  arguments.option("--each", "FILE", "a task for each line of FILE; - is stdin", options.each);
  arguments.flag("-0,--null", "with --each: NUL ends a record, not a newline", options.nulSeparated);
  arguments.flag("--wait", "wait until it has ended, and exit as it did", options.wait);
  options.task.declareTask(arguments);
  options.task.declareSurroundings(arguments);
  options.task.declareFiles(arguments);
  arguments.common(options.common, Arguments::Json::yes);
  help = !arguments.parse(argc, argv);
  if (help) return;
  options.task.check();
  if (!options.each && arguments.words().empty()) {
    throw Error(Code::usage, "submit: which command? `batonctl submit --help` explains");
  }
  if (!options.each && options.nulSeparated) throw Error(Code::usage, "submit: -0 is for --each");
}

void printId(ipc::Client& client, std::uint64_t id, bool batch, bool json) {
  const TaskRef made{id, 0};
  tellIds(client, {&made, 1}, [&] {
    print(json ? fmt::format("{{\"type\":\"{}\",\"id\":\"{}\"}}\n", batch ? "batch" : "task", id)
               : fmt::format("{}\n", id));
  });
}

// The message refers to nothing of this process: it may be made before a daemon is started.
void writeSubmit(const Options& options, const std::vector<std::string>& argv, ipc::Message& request) {
  auto submit = request.frame().initSubmit();
  writeContextSource(options.task.surroundings(), submit.initContext(), request);
  options.task.fill(submit.initOptions());
  writeArgv(argv, submit.initArgv(static_cast<unsigned>(argv.size())));
}

std::uint64_t send(ipc::Client& client, ipc::Message& request) {
  checkSize(request, client.hello().getMaxFrameBytes(), "the command with its environment");
  const auto reply = client.call(request, [](ipc::wire::Frame::Reader event) {
    if (event.isNotice()) complain(event.getNotice().cStr());
  });
  return reply.get().getSubmitted();
}

// The exit code of a task or batch that is waited for to its end.
int waitFor(ipc::Client& client, std::uint64_t id, bool refuseToWait) {
  ipc::Message request;
  const TaskRef ref{id, 0};
  writeSelection({&ref, 1}, request.frame().initWait().initSelection());
  WaitingHint hint(client, {ref});
  const auto reply = awaitReply(client, client.send(request), hint);
  const auto rows = reply.get().getListing().getRows();
  if (rows.size() == 0) throw Error(Code::unknownId, fmt::format("task {} is not known any more", id));
  if (rows[0].isBatch()) return rows[0].getBatch().getExitCode();
  const auto outcome = outcomeOf(rows[0].getTask(), refuseToWait);
  if (!outcome.line.empty()) complain(outcome.line);
  return outcome.code;
}

}  // namespace

int submitVerb(int argc, char** argv) {
  Options options;
  Arguments arguments(kSpec);
  bool help = false;
  parse(options, arguments, argc, argv, help);
  if (help) return 0;
  // What can be wrong here is found before a daemon is started.
  if (options.each) {
    SubmitEach each({.options = options.task,
                     .command = arguments.words(),
                     .file = *options.each,
                     .delimiter = options.nulSeparated ? '\0' : '\n'});
    auto client = connectOrStart(options.common);
    const std::uint64_t id = each.open(client);
    printId(client, id, true, options.common.json);
    each.addAll(client);
    return options.wait ? waitFor(client, id, options.task.refuseToWait) : 0;
  }
  ipc::Message request;
  writeSubmit(options, arguments.words(), request);
  auto client = connectOrStart(options.common);
  const std::uint64_t id = send(client, request);
  printId(client, id, false, options.common.json);
  return options.wait ? waitFor(client, id, options.task.refuseToWait) : 0;
}

}  // namespace baton::ctl
