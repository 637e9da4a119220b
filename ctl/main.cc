// batonctl: finds the verb, calls it, and says what went wrong.
#include <fmt/format.h>
#include <kj/exception.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace {

using baton::Code;
using baton::Error;
using baton::ctl::print;
using baton::ctl::Verb;
using baton::ctl::VerbGroup;

struct Group {
  VerbGroup group;
  const char* title;
};
constexpr Group kGroups[] = {{VerbGroup::start, "Run something"},
                             {VerbGroup::look, "Look"},
                             {VerbGroup::change, "Change tasks"},
                             {VerbGroup::objects, "Share between programs"},
                             {VerbGroup::daemon, "The daemon"}};

constexpr const char* kHelpEnd = R"(
Options that every verb takes, also before it:
  --system, --user   talk to the system's daemon, or to your own, only
  --json             print JSON (all but `run` and `map`, whose output is the commands')
  -h, --help         what the verb does, its options, and examples
  --version          versions of batonctl and of the daemon

Tasks are named by id: 12, 12.3 (third of batch 12), 5-9, 1,4,7-9, last.
Times are spelled 90 (seconds), 500ms, 5m, 1h30m; sizes 512K, 2G.

Exit codes: 0 done; of a command its own, or 128+N if signal N ended it; 1 not to be had now (-n);
124 time limit; 125 baton itself (wrong use, no daemon, unknown id, ...); 126 the command cannot be
executed; 127 not found. `batonctl map --help` tells its own.

Examples:
  batonctl run make            run make on a slot, as if it had been called directly
  batonctl submit -- make -j1  leave it for later; prints an id for `wait`, `logs`, `cancel`
  ls *.wav | batonctl map lame {}
  batonctl                     what runs and what waits
)";

void printHelp() {
  print(
      "Usage: batonctl [OPTIONS] [VERB] ...\n"
      "Run work on this machine's pool of workers, one for each core.\n");
  for (const Group& group : kGroups) {
    print(fmt::format("\n{}:\n", group.title));
    for (const Verb& verb : baton::ctl::verbs()) {
      if (verb.group == group.group) print(fmt::format("  {:<9} {}\n", verb.name, verb.summary));
    }
  }
  print(kHelpEnd);
}

[[noreturn]] void rejectWord(std::string_view word) {
  const bool option = word.starts_with('-');
  std::vector<std::string_view> candidates;
  if (option) {
    candidates = {"--system", "--user", "--json", "--help", "--version"};
  } else {
    for (const Verb& verb : baton::ctl::verbs()) candidates.emplace_back(verb.name);
  }
  std::string text = fmt::format("unknown {} {}", option ? "option" : "verb", word);
  if (const auto near = baton::ipc::nearest(word, candidates))
    text += fmt::format(" (did you mean {}?)", *near);
  throw Error(Code::usage, text + "; `batonctl --help` lists " + (option ? "them" : "the verbs"));
}

// `words`: the verb, then its arguments, among them those options that stood before it.
int callVerb(const Verb& verb, std::vector<char*>& words) {
  const int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  return verb.function(count, words.data());
}

int dispatch(int argc, char** argv) {
  std::vector<char*> words{nullptr};
  int next = 1;
  for (; next < argc && argv[next][0] == '-'; ++next) {
    const std::string_view option = argv[next];
    if (option == "-h" || option == "--help") {
      printHelp();
      return 0;
    }
    if (option == "--version") return baton::ctl::versionVerb(1, argv);
    if (option != "--system" && option != "--user" && option != "--json") rejectWord(option);
    words.push_back(argv[next]);
  }
  std::string_view name = next < argc ? argv[next] : "list";
  static char helpOption[] = "--help";
  if (name == "help") {
    if (next + 1 >= argc) {
      printHelp();
      return 0;
    }
    name = argv[++next];
    words.push_back(helpOption);
    argc = next + 1;
  }
  const Verb* verb = baton::ctl::findVerb(name);
  if (verb == nullptr) rejectWord(name);
  words[0] = next < argc ? argv[next] : argv[0];
  if (next < argc) words.insert(words.end(), argv + next + 1, argv + argc);
  return callVerb(*verb, words);
}

}  // namespace

int main(int argc, char** argv) {
  baton::ctl::reserveStandardDescriptors();
  try {
    const int code = dispatch(argc, argv);
    baton::ctl::flushOutput();
    return code;
  } catch (const Error& error) {
    baton::ctl::complain(error.what());
  } catch (const kj::Exception& error) {
    baton::ctl::complain(std::string("the daemon sent what cannot be read: ") +
                         error.getDescription().cStr());
  } catch (const std::exception& error) {
    baton::ctl::complain(error.what());
  }
  return baton::ctl::kExitBaton;
}
