#include "ctl/map_options.h"

#include "ipc/error.h"

namespace baton::ctl {
namespace {

// A job that waits costs a process and no core; 32 at once is what people give `xargs -P` for downloads.
constexpr std::uint32_t kDefaultIoJobs = 32;

constexpr const char* kReplaced = "{} stands for the value wherever you write it";
constexpr const char* kOneEach = "each value is a job of its own";
constexpr const char* kNothing = "without a value nothing is run";
constexpr const char* kLines = "a value ends at a newline, or with -0 at a NUL: `tr , '\\n'` makes it so";
constexpr const char* kBar = "--bar shows progress";
constexpr const char* kGrouped =
    "what a job prints is shown when it has ended, with -k the first one's as it comes";
constexpr const char* kDry = "--dry-run prints the lines, --joblog FILE keeps those that were run";
constexpr const char* kLater = "not yet";

constexpr Arguments::Foreign kForeign[] = {{"-I", kReplaced},
                                           {"-i", kReplaced},
                                           {"--replace", kReplaced},
                                           {"-n", kOneEach},
                                           {"-N", kOneEach},
                                           {"-L", kOneEach},
                                           {"-l", kOneEach},
                                           {"--max-args", kOneEach},
                                           {"--max-lines", kOneEach},
                                           {"-X", kOneEach},
                                           {"-m", kOneEach},
                                           {"-r", kNothing},
                                           {"--no-run-if-empty", kNothing},
                                           {"-d", kLines},
                                           {"--delimiter", kLines},
                                           {"--eta", kBar},
                                           {"--progress", kBar},
                                           {"-u", kGrouped},
                                           {"--ungroup", kGrouped},
                                           {"--line-buffer", kGrouped},
                                           {"--lb", kGrouped},
                                           {"-t", kDry},
                                           {"-v", kDry},
                                           {"--verbose", kDry},
                                           {"--pipe", kLater},
                                           {"--pipepart", kLater},
                                           {"--colsep", kLater},
                                           {"-S", kLater},
                                           {"--sshlogin", kLater},
                                           {"--results", kLater},
                                           {"--resume", kLater}};

constexpr Arguments::Spec kSpec{
    .verb = "map",
    .usage = "[OPTIONS] [CMD...] [::: VALUE...]",
    .description =
        "Run CMD once for each VALUE, or for each line of stdin, on all slots of the pool, as GNU parallel "
        "does.\n"
        "CMD is a shell line (its words joined by blanks); values are put in quoted. What each job prints "
        "is\n"
        "shown when the job has ended, never mixed with another's.\n"
        "\n"
        "  {}     the value            {.}   without extension     {/}  base name     {//}  directory\n"
        "  {1}    the first of several (::: a b ::: c d makes all pairs)\n"
        "  {#}    the job's number     {%}   its slot number       nothing of these: {} at the end",
    .footer =
        "The shell is $BATON_SHELL, else the one that batonctl was started from, else $SHELL, else /bin/sh. "
        "A "
        "line\n"
        "with nothing for a shell to do is executed directly.\n"
        "\n"
        "Exit code: the number of jobs that failed, 101 for more than 100; with --halt now,fail=1 that job's "
        "own;\n"
        "125 baton itself. Ctrl-C ends the running jobs. TERM starts no more; a second one ends them.\n"
        "\n"
        "docs/map.md tells what differs from GNU parallel, and how to say what you say to xargs.\n"
        "\n"
        "Examples:\n"
        "  ls *.wav | batonctl map lame {} -o {.}.mp3\n"
        "  find . -name '*.log' -print0 | batonctl map -0 --bar gzip -9\n"
        "  batonctl map --io -j 64 -k --tag curl -sI ::: https://example.org https://example.net\n"
        "  batonctl map --halt now,fail=1 --joblog tests.tsv ./test --seed {} ::: $(seq 1000)",
    .words = Arguments::Words::command,
    .foreign = kForeign};

void declare(MapOptions& options, Arguments& arguments) {
  arguments.option("-j,-P,--jobs,--max-procs", "N",
                   "jobs at once: 8, -1 (slots but one), 75% (default: 100%)",
                   [&options](const std::string& text) {
                     options.jobs = JobCount::parse(text);
                     options.jobsAsked = true;
                   });
  arguments.flag("--io", "the jobs wait rather than compute: run them without slots (default -j 32)",
                 options.task.io);
  arguments.number("--cpus", "N", "each job takes N slots", 1, UINT16_MAX, options.task.slots);
  arguments.flag("-0,--null", "NUL ends a value on stdin, not a newline", options.nulSeparated);
  arguments.option("-a,--arg-file", "FILE", "values from the lines of FILE; may be repeated", options.files);
  arguments.flag("-k,--keep-order", "show what jobs print in the order of the input", options.keepOrder);
  arguments.flag("--tag", "put the value and a TAB before each line", options.tag);
  arguments.flag("--bar", "show progress on the terminal", options.bar);
  arguments.option("--halt", "WHEN", "never; now|soon,fail|success|done=N or N%: stop when so many have",
                   [&options](const std::string& text) { options.halt = map::parseHalt(text); });
  arguments.option("--joblog", "FILE", "a line about each ended job to FILE; +FILE appends", options.jobLog);
  arguments.option("--timeout", "TIME", "end a job when it has run that long", options.task.timeLimit);
  arguments.option("--grace", "TIME",
                   "between TERM and KILL when a job is ended (default: as configured, 10s)",
                   options.task.grace);
  constexpr std::int64_t kMaxAttempts = 1000;
  arguments.number("--retries,--attempts", "N", "run a job up to N times, until it succeeds", 1, kMaxAttempts,
                   options.task.attempts);
  arguments.flag("--dry-run", "print the lines that would be run", options.dryRun);
  arguments.option("--name", "NAME", "a name to be shown in listings", options.task.name);
  constexpr std::int64_t kMaxPriority = 1000;
  arguments.number("-p,--priority", "N", "-1000..1000; one step is worth a minute of waiting", -kMaxPriority,
                   kMaxPriority, options.task.priority);
  options.task.declareSurroundings(arguments);
  arguments.common(options.common, Arguments::Json::no);
}

}  // namespace

bool parseMapOptions(MapOptions& options, int argc, char** argv) {
  Arguments arguments(kSpec);
  declare(options, arguments);
  if (!arguments.parse(argc, argv)) {
    return false;
  }
  options.task.check();
  // 0: as many as the pool takes, which is fewer than its slots with --cpus.
  if (!options.jobsAsked) options.jobs = {JobCount::Kind::number, options.task.io ? kDefaultIoJobs : 0};
  options.commandLine = map::splitCommandLine(arguments.words(), options.files);
  return true;
}

}  // namespace baton::ctl
