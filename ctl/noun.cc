#include "ctl/noun.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ctl/output.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

void printHelp(const Noun& noun) {
  print(fmt::format("Usage: batonctl {0} VERB ...\n{1}\n\n", noun.name, noun.description));
  for (const NounVerb& verb : noun.verbs) print(fmt::format("  {:<8} {}\n", verb.name, verb.summary));
  print(fmt::format("\n`batonctl {} VERB --help` explains each.\n\n{}\n", noun.name, noun.footer));
}

[[noreturn]] void reject(const Noun& noun, std::string_view word) {
  std::vector<std::string_view> names;
  for (const NounVerb& verb : noun.verbs) names.emplace_back(verb.name);
  std::string text =
      fmt::format("{}: unknown {} {}", noun.name, word.starts_with('-') ? "option" : "verb", word);
  if (const auto near = ipc::nearest(word, names)) text += fmt::format(" (did you mean {}?)", *near);
  throw Error(Code::usage, text + fmt::format("; `batonctl {} --help` lists the verbs", noun.name));
}

}  // namespace

int callNoun(const Noun& noun, int argc, char** argv) {
  // Options that stand before the verb, as --json, are the verb's.
  std::vector<char*> words{argv[0]};
  int next = 1;
  for (; next < argc && argv[next][0] == '-'; ++next) {
    const std::string_view option = argv[next];
    if (option == "-h" || option == "--help") {
      printHelp(noun);
      return 0;
    }
    if (option != "--system" && option != "--user" && option != "--json") reject(noun, option);
    words.push_back(argv[next]);
  }
  const NounVerb* verb = &noun.verbs.front();
  if (next < argc) {
    const auto found = std::find_if(noun.verbs.begin(), noun.verbs.end(), [&](const NounVerb& known) {
      return argv[next] == std::string_view(known.name);
    });
    if (found == noun.verbs.end()) reject(noun, argv[next]);
    verb = &*found;
    words[0] = argv[next];
    words.insert(words.end(), argv + next + 1, argv + argc);
  }
  const int count = static_cast<int>(words.size());
  words.push_back(nullptr);
  return verb->function(count, words.data());
}

}  // namespace baton::ctl
