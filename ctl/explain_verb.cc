// `batonctl explain`: why a task waits.
#include <fmt/format.h>

#include "ctl/json.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "explain",
    .usage = "[OPTIONS] ID...",
    .description = "Why a task waits, or what became of it: in sentences, the decisive one first.",
    .footer =
        "Exit code: 0 it is printed; 125 for an unknown id.\n"
        "\n"
        "Examples:\n"
        "  batonctl explain 12\n"
        "  batonctl --json explain last | jq '.[0].ahead'",
    .words = Arguments::Words::operands};

// One line for tasks that wait for the same: a batch has many of them.
class SameReasons {
 public:
  void add(ipc::wire::Explanation::Reader explanation) {
    std::string text;
    for (const auto sentence : explanation.getText()) {
      text += (text.empty() ? "" : "\n") + ipc::escape(sentence.cStr());
    }
    if (reasons_.empty() || reasons_.back().first != text) reasons_.emplace_back(text, 0);
    ++reasons_.back().second;
  }
  void print(const std::string& prefix) const {
    const bool one = reasons_.size() == 1 && reasons_[0].second == 1;
    for (const auto& [text, count] : reasons_) {
      std::string_view rest = text;
      const std::string tasks = one ? "" : fmt::format("{} task{}: ", count, count == 1 ? "" : "s");
      while (true) {
        const std::size_t end = rest.find('\n');
        ctl::print(prefix + tasks + std::string(rest.substr(0, end)) + "\n");
        if (end == rest.npos) break;
        rest.remove_prefix(end + 1);
      }
    }
  }

 private:
  std::vector<std::pair<std::string, std::uint64_t>> reasons_;
};

}  // namespace

int explainVerb(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  const auto refs = requiredRefs("explain", arguments.words(), client);
  JsonArray array;
  // One by one, so that it is clear which answer is whose.
  for (const TaskRef& ref : refs) {
    ipc::Message request;
    writeSelection({&ref, 1}, request.frame().initExplain());
    const auto reply = client.call(request);
    SameReasons reasons;
    for (const auto explanation : reply.get().getExplanations()) {
      common.json ? array.add(toJson(explanation, ref)) : reasons.add(explanation);
    }
    reasons.print(refs.size() > 1 ? toString(ref) + ": " : "");
  }
  if (common.json) array.finish();
  return 0;
}

}  // namespace baton::ctl
