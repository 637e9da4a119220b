// `batonctl queue run`.
#include "ctl/queue_run.h"
#include "ctl/queue_verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "queue run",
    .usage = "[OPTIONS] NAME [--] CMD [ARG...]",
    .description =
        "Run CMD on the pool for each message, until the queue is closed and empty. CMD has the message on "
        "its\n"
        "standard input, as `queue get` prints it, and in place of {} in its words. If CMD exits with 0 the\n"
        "message is done with; else it goes back to the front of the queue, and counts as an attempt.",
    .footer =
        "What was taken when this is killed, or interrupted by Ctrl-C, goes back; its commands are "
        "cancelled.\n"
        "A message whose command always fails is tried for ever, unless the queue bounds it: `queue create\n"
        "--attempts 5 --dead-letters failed`; --delay keeps the pool free meanwhile.\n"
        "\n"
        "Exit code: the highest of all the commands, 0 if none failed; 125 baton itself. That the waiting "
        "ends,\n"
        "by -n or -w, is no failure.\n"
        "\n"
        "Examples:\n"
        "  batonctl queue run jobs -- gzip {}\n"
        "  batonctl queue run -j 1 --delay 30s mail sendmail -t\n"
        "  batonctl queue run -n jobs sh -c 'read -r url; curl -sO \"$url\"'   # what is there now",
    .words = Arguments::Words::command};

}  // namespace

int queueRunVerb(int argc, char** argv) {
  QueueRunOptions options;
  CommonOptions common;
  bool create = false;
  Arguments arguments(kSpec);
  arguments.option("-j,--jobs", "N", "commands at once: 2, -1 (all slots but one), 50% (all slots)",
                   [&](const std::string& text) { options.jobs = JobCount::parse(text); });
  arguments.flag("-n,--no-wait", "end when the queue is empty", options.wait.refuse);
  arguments.option("-w,--timeout", "DURATION", "end when no message has come for so long",
                   options.wait.atMost);
  arguments.option("--delay", "DURATION", "a message whose command failed is not tried again before",
                   options.delay);
  arguments.flag("--raw", "no line's end behind the message on standard input", options.raw);
  arguments.flag("--create", "make the queue if it is absent", create);
  arguments.flag("--io", "CMD waits rather than computes: no slot", options.task.io);
  arguments.number("--cpus", "N", "slots of each CMD", 1, 4096, options.task.slots);
  arguments.option("--time-limit", "DURATION", "CMD is ended after so long", options.task.timeLimit);
  options.task.declareSurroundings(arguments);
  arguments.common(common, Arguments::Json::no);
  if (!arguments.parse(argc, argv)) return 0;
  options.wait.check();
  options.task.check();
  const std::string& name = queueName(arguments, "run");
  options.command.assign(arguments.words().begin() + 1, arguments.words().end());
  if (!options.command.empty() && options.command.front() == "--")
    options.command.erase(options.command.begin());
  if (options.command.empty())
    throw Error(Code::usage, "queue run: which command? `batonctl queue run --help` explains");
  QueueClient queue(common, name, create);
  return QueueRun(queue, options).run();
}

}  // namespace baton::ctl
