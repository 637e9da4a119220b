#include "ctl/arguments.h"

#include <fmt/format.h>
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <charconv>

#include "ctl/output.h"
#include "ipc/error.h"
#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

constexpr std::size_t kHelpColumn = 26;

// CLI11's layout, with a usage line of our own and without types that say nothing.
class HelpFormatter : public CLI::Formatter {
 public:
  explicit HelpFormatter(const Arguments::Spec& spec) : spec_(spec) { column_width(kHelpColumn); }

  std::string make_usage(const CLI::App* /*app*/, std::string /*name*/) const override {
    return std::string("Usage: batonctl ") + spec_.verb + (*spec_.usage != '\0' ? " " : "") + spec_.usage +
           "\n";
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    return option->get_type_name().empty() ? std::string() : " " + option->get_type_name();
  }
  std::string make_footer(const CLI::App* app) const override {
    const std::string footer = app->get_footer();
    return footer.empty() ? std::string() : footer + "\n";
  }

 private:
  Arguments::Spec spec_;
};

}  // namespace

struct Arguments::Parser {
  explicit Parser(const Spec& spec) : app(spec.description, std::string("batonctl ") + spec.verb) {
    app.formatter(std::make_shared<HelpFormatter>(spec));
    app.footer(spec.footer);
    app.set_help_flag("-h,--help", "print this help");
    app.get_formatter()->label("OPTIONS", "OPTIONS");
    if (spec.words == Words::command) {
      app.prefix_command();
    } else {
      app.allow_extras();
    }
  }
  CLI::App app;
};

Arguments::Arguments(const Spec& spec) : spec_(spec) {}

Arguments::~Arguments() = default;

void Arguments::flag(const char* names, const char* help, bool& value) {
  declared_.emplace_back([this, names, help, &value] {
    parser_->app.add_flag_callback(
        names, [&value] { value = true; }, help);
  });
}

void Arguments::option(const char* names, const char* metavar, const char* help, Take take) {
  declared_.emplace_back([this, names, metavar, help, take = std::move(take)] {
    auto* option = parser_->app.add_option(
        names,
        [take](const CLI::results_t& results) {
          for (const std::string& result : results) take(result);
          return true;
        },
        help);
    option->type_name(metavar)->type_size(1)->expected(1)->allow_extra_args(false);
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  });
}

void Arguments::option(const char* names, const char* metavar, const char* help,
                       std::optional<std::string>& value) {
  option(names, metavar, help, [&value](const std::string& text) { value = text; });
}

void Arguments::option(const char* names, const char* metavar, const char* help, std::string& value) {
  option(names, metavar, help, [&value](const std::string& text) { value = text; });
}

void Arguments::option(const char* names, const char* metavar, const char* help,
                       std::vector<std::string>& values) {
  option(names, metavar, help, [&values](const std::string& text) { values.push_back(text); });
}

void Arguments::option(const char* names, const char* metavar, const char* help,
                       std::optional<std::chrono::nanoseconds>& value) {
  const std::string name = longName(names);
  option(names, metavar, help,
         [&value, name](const std::string& text) { value = ipc::durationOf(name, text); });
}

void Arguments::common(CommonOptions& options, Json json) {
  declared_.emplace_back([this, &options, json] {
    auto& app = parser_->app;
    addJson(options, json);
    auto* system = app.add_flag_callback(
        "--system", [&options] { options.which = ipc::Which::system; }, "talk to the system's daemon only");
    auto* user = app.add_flag_callback(
        "--user", [&options] { options.which = ipc::Which::user; }, "talk to your own daemon only");
    system->excludes(user);
  });
}

void Arguments::addJson(CommonOptions& options, Json json) {
  if (json == Json::own) return;
  auto take = [this, &options, json] {
    if (json == Json::no) {
      throw Error(Code::usage, std::string(spec_.verb) + ": --json: stdout is what the commands print; " +
                                   "`batonctl --json show` and `list` tell about them");
    }
    options.json = true;
  };
  auto* option = parser_->app.add_flag_callback(
      "--json", take, json == Json::yes ? "print JSON" : "as with every verb; this one prints nothing");
  if (json == Json::no) option->group("");  // not in the help
}

// A command line without options, the most usual one, needs no parser: building one takes as long as the
// rest.
bool Arguments::hasOptions(int argc, char** argv) const {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") return false;
    if (word.size() > 1 && word[0] == '-') return true;
    if (spec_.words == Words::command) return false;
  }
  return false;
}

bool Arguments::parse(int argc, char** argv) {
  if (!hasOptions(argc, argv)) {
    takeWords(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
    return true;
  }
  parser_ = std::make_unique<Parser>(spec_);
  for (const auto& declare : declared_) declare();
  // CLI11 wants them last first.
  std::vector<std::string> reversed;
  for (int i = argc - 1; i >= 1; --i) reversed.emplace_back(argv[i]);
  try {
    parser_->app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    print(parser_->app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    throw Error(Code::usage, std::string(spec_.verb) + ": " + error.what() + "; `batonctl " + spec_.verb +
                                 " --help` explains");
  }
  takeWords(parser_->app.remaining());
  return true;
}

void Arguments::takeWords(const std::vector<std::string>& rest) {
  bool onlyWords = false;
  for (const std::string& word : rest) {
    if (!onlyWords && word == "--") {
      onlyWords = true;
      continue;
    }
    if (!onlyWords && word.size() > 1 && word[0] == '-') rejectOption(word);
    if (spec_.words == Words::none) {
      throw Error(Code::usage, std::string(spec_.verb) + ": takes no argument, but got `" + word +
                                   "`; `batonctl " + spec_.verb + " --help` explains");
    }
    words_.push_back(word);
    // What follows a command's first word is the command's.
    onlyWords = onlyWords || spec_.words == Words::command;
  }
}

void Arguments::rejectOption(const std::string& word) const {
  const std::string name = word.substr(0, word.find('='));
  for (const Foreign& foreign : spec_.foreign) {
    const std::string_view option = foreign.option;
    if (option.starts_with("--") ? name == option : word.starts_with(option)) {
      throw Error(Code::usage, fmt::format("{}: there is no {}: {}", spec_.verb, option, foreign.instead));
    }
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : parser_->app.get_options()) {
    for (const std::string& longer : option->get_lnames()) known.push_back("--" + longer);
  }
  const std::vector<std::string_view> candidates(known.begin(), known.end());
  std::string hint;
  if (name.starts_with("--")) {
    if (const auto near = ipc::nearest(name, candidates))
      hint = " (did you mean " + std::string(*near) + "?)";
  }
  throw Error(Code::usage, std::string(spec_.verb) + ": unknown option " + name + hint + "; `batonctl " +
                               spec_.verb + " --help` lists them");
}

std::string Arguments::longName(const char* names) {
  const std::string all(names);
  const std::size_t longer = all.find("--");
  return longer == std::string::npos ? all : all.substr(longer);
}

std::int64_t Arguments::integerOf(const std::string& name, const std::string& text, std::int64_t least,
                                  std::int64_t most) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, failure] = std::from_chars(text.data(), end, value);
  if (text.empty() || failure != std::errc() || stopped != end || value < least || value > most) {
    throw Error(Code::usage, name + " " + text + ": expected a whole number from " + std::to_string(least) +
                                 " to " + std::to_string(most));
  }
  return value;
}

}  // namespace baton::ctl
