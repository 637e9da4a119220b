// The verbs that change tasks: cancel, kill, hold, release.
#include <string_view>

#include "ctl/exit_code.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr const char* kUsage = "[OPTIONS] ID...";

// The ids on the command line, or all unfinished ones.
void select(const char* verb, const Arguments& arguments, bool all, ipc::Client& client,
            ipc::wire::Selection::Builder selection) {
  if (all) {
    if (!arguments.words().empty()) throw Error(Code::usage, std::string(verb) + ": ids or --all, not both");
    selection.setAll(true);
    return;
  }
  writeSelection(requiredRefs(verb, arguments.words(), client), selection);
}

// hold and release.
int changeHold(const Arguments::Spec& spec, int argc, char** argv, bool hold) {
  CommonOptions common;
  bool all = false;
  Arguments arguments(spec);
  arguments.flag("-a,--all", hold ? "all of yours that have not started" : "all of yours that are held", all);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  ipc::Message request;
  auto frame = request.frame();
  select(spec.verb, arguments, all, client, hold ? frame.initHold() : frame.initRelease());
  client.call(request);
  return 0;
}

constexpr Arguments::Spec kCancel{
    .verb = "cancel",
    .usage = kUsage,
    .description =
        "End tasks: what has not started never does; what runs gets TERM, and after a while KILL, "
        "with all\nits processes.",
    .footer =
        "Exit code: 0 they are ended or about to be; 125 for an unknown id. A task that has already ended "
        "stays\nas it is.\n"
        "\n"
        "Examples:\n"
        "  batonctl cancel 12\n"
        "  batonctl cancel --reason 'wrong input' 12.3 15-19\n"
        "  batonctl cancel --grace 0 last    KILL at once\n"
        "  batonctl cancel --all",
    .words = Arguments::Words::operands};

constexpr Arguments::Spec kKill{
    .verb = "kill",
    .usage = "[-s SIGNAL] [OPTIONS] ID...",
    .description =
        "Send one signal to every process of running tasks, and do nothing more. To end a task "
        "for good use\n`batonctl cancel`.",
    .footer =
        "Exit code: 0 sent; 125 for an unknown id, signal, or a task that does not run.\n"
        "\n"
        "Examples:\n"
        "  batonctl kill -s HUP 12\n"
        "  batonctl kill -s STOP --main 12\n"
        "  batonctl kill -9 12",
    .words = Arguments::Words::operands};

constexpr Arguments::Spec kHold{
    .verb = "hold",
    .usage = kUsage,
    .description = "Keep tasks that have not started from starting, until `batonctl release`.",
    .footer =
        "Examples:\n"
        "  batonctl hold 12\n"
        "  batonctl hold --all",
    .words = Arguments::Words::operands};

constexpr Arguments::Spec kRelease{.verb = "release",
                                   .usage = kUsage,
                                   .description = "Let held tasks start when it is their turn.",
                                   .footer =
                                       "Examples:\n"
                                       "  batonctl release 12\n"
                                       "  id=$(batonctl submit --hold make); ...; batonctl release $id",
                                   .words = Arguments::Words::operands};

// `kill -9 12` and `kill -HUP 12`, as kill(1) takes them, become `-s`.
std::vector<std::string> spellOutSignal(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  for (std::size_t i = 1; i < words.size() && words[i].starts_with('-') && words[i] != "--"; ++i) {
    const std::string name = words[i].substr(1);
    if (words[i] == "-s" || words[i] == "--signal") break;
    if (words[i].starts_with("--") || signalNumber(name) == 0) continue;
    words[i] = "--signal=" + name;
    break;
  }
  return words;
}

int signalOf(const std::string& name) {
  const int signal = signalNumber(name);
  if (signal == 0)
    throw Error(Code::usage, "kill: `" + name + "` is no signal; expected a name such as HUP, or a number");
  return signal;
}

}  // namespace

int cancelVerb(int argc, char** argv) {
  CommonOptions common;
  bool all = false;
  std::optional<std::chrono::nanoseconds> grace;
  std::string reason;
  Arguments arguments(kCancel);
  arguments.flag("-a,--all", "all of yours that have not ended", all);
  arguments.option("--grace", "TIME", "between TERM and KILL (default: the task's own); 0: KILL at once",
                   grace);
  arguments.option("--reason", "TEXT", "to be shown with the task", reason);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  ipc::Message request;
  auto cancel = request.frame().initCancel();
  select("cancel", arguments, all, client, cancel.initSelection());
  if (grace) cancel.setGraceNs(static_cast<std::uint64_t>(grace->count()));
  cancel.setReason(reason);
  client.call(request);
  return 0;
}

int killVerb(int argc, char** argv) {
  CommonOptions common;
  bool all = false;
  bool main = false;
  std::string signal = "TERM";
  Arguments arguments(kKill);
  arguments.option("-s,--signal", "SIGNAL", "name or number (default TERM)", signal);
  arguments.flag("--main", "to the command itself only", main);
  arguments.flag("-a,--all", "all of yours that run", all);
  arguments.common(common, Arguments::Json::nothing);
  auto words = spellOutSignal(argc, argv);
  std::vector<char*> pointers;
  pointers.reserve(words.size());
  for (std::string& word : words) pointers.push_back(word.data());
  if (!arguments.parse(argc, pointers.data())) return 0;
  const int number = signalOf(signal);
  auto client = connect(common);
  ipc::Message request;
  auto kill = request.frame().initKill();
  select("kill", arguments, all, client, kill.initSelection());
  kill.setSignal(number);
  kill.setMain(main);
  client.call(request);
  return 0;
}

int holdVerb(int argc, char** argv) {
  return changeHold(kHold, argc, argv, true);
}

int releaseVerb(int argc, char** argv) {
  return changeHold(kRelease, argc, argv, false);
}

}  // namespace baton::ctl
