// A verb's command line: declared once, parsed and explained (--help) by CLI11. The only user of CLI11, whose
// headers bring static initialisers and iostream along.
//
//   Arguments arguments({.verb = "wait", .usage = "[OPTIONS] [ID...]", .description = "...", ...});
//   arguments.flag("--any", "return at the first end", any);
//   if (!arguments.parse(argc, argv)) return 0;  // --help was printed
//   use(arguments.words());
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/locate.h"

namespace baton::ctl {

struct CommonOptions {
  ipc::Which which = ipc::Which::any;
  bool json = false;
};

class Arguments {
 public:
  enum class Words {
    none,      // a word that is no option is an error
    operands,  // words and options may be mixed
    command,   // options end at the first word, or at `--`
  };
  // For people who come from other tools: what to do instead of an option that they have and we do not.
  struct Foreign {
    const char* option = "";  // "-I" stands for "-I{}" too, "--eta" for "--eta=..."
    const char* instead = "";
  };
  struct Spec {
    const char* verb = "";
    const char* usage = "";        // what stands behind the verb in the usage line
    const char* description = "";  // what --help opens with
    const char* footer = "";       // exit codes where they matter, and examples
    Words words = Words::none;
    std::span<const Foreign> foreign = {};
  };

  explicit Arguments(const Spec& spec);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  // `names` as CLI11 spells them: "-p,--priority". What is declared must outlive parse().
  void flag(const char* names, const char* help, bool& value);
  // Calls `take` for each time the option is given, in order. `take` throws Error(usage).
  using Take = std::function<void(const std::string&)>;
  void option(const char* names, const char* metavar, const char* help, Take take);
  // The last one given counts.
  void option(const char* names, const char* metavar, const char* help, std::optional<std::string>& value);
  void option(const char* names, const char* metavar, const char* help, std::string& value);
  // May be given several times.
  void option(const char* names, const char* metavar, const char* help, std::vector<std::string>& values);
  // A duration.
  void option(const char* names, const char* metavar, const char* help,
              std::optional<std::chrono::nanoseconds>& value);
  // `value` is an integer or an optional one.
  template <typename Integer>
  void number(const char* names, const char* metavar, const char* help, std::int64_t least, std::int64_t most,
              Integer& value) {
    const std::string name = longName(names);
    option(names, metavar, help, [&value, name, least, most](const std::string& text) {
      assign(value, integerOf(name, text, least, most));
    });
  }

  // --system, --user and --json.
  enum class Json {
    no,       // refused with a reason: stdout is that of the commands
    yes,      // as the verb makes use of it
    own,      // the verb has one of its own
    nothing,  // taken, so that it may stand before every verb; there is nothing to print
  };
  void common(CommonOptions& options, Json json);

  // Parses argv[1..]. False: --help was asked for and printed. Throws Error(usage).
  [[nodiscard]] bool parse(int argc, char** argv);
  // What is no option, in order.
  const std::vector<std::string>& words() const { return words_; }

 private:
  template <typename Integer>
  static void assign(Integer& value, std::int64_t number) {
    value = static_cast<Integer>(number);
  }
  template <typename Integer>
  static void assign(std::optional<Integer>& value, std::int64_t number) {
    value = static_cast<Integer>(number);
  }
  static std::string longName(const char* names);
  // Throws Error(usage) that names the option and the range.
  static std::int64_t integerOf(const std::string& name, const std::string& text, std::int64_t least,
                                std::int64_t most);
  void addJson(CommonOptions& options, Json json);
  void takeWords(const std::vector<std::string>& rest);
  [[noreturn]] void rejectOption(const std::string& word) const;

  bool hasOptions(int argc, char** argv) const;

  struct Parser;  // CLI11's
  std::unique_ptr<Parser> parser_;
  std::vector<std::function<void()>> declared_;  // what the parser will be told, if it is needed
  Spec spec_;
  std::vector<std::string> words_;
};

}  // namespace baton::ctl
