#include "ctl/arguments.h"

#include <gtest/gtest.h>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

using Words = Arguments::Words;
using std::chrono::milliseconds;

// A verb with an option of each kind.
struct Example {
  explicit Example(Words words) : arguments({.verb = "example", .usage = "", .words = words}) {
    arguments.flag("-q,--quiet", "", quiet);
    arguments.option("-C,--directory", "DIR", "", directory);
    arguments.option("-E", "K[=V]", "", variables);
    arguments.option("--timeout", "TIME", "", timeout);
    arguments.number("-p,--priority", "N", "", -10, 10, priority);
    arguments.common(common, Arguments::Json::yes);
  }
  bool parse(std::vector<std::string> words) {
    words.insert(words.begin(), "example");
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    return arguments.parse(static_cast<int>(pointers.size()), pointers.data());
  }
  std::string rejection(const std::vector<std::string>& words) {
    try {
      static_cast<void>(parse(words));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::usage);
      return error.what();
    }
    return "";
  }

  Arguments arguments;
  bool quiet = false;
  std::optional<std::string> directory;
  std::vector<std::string> variables;
  std::optional<std::chrono::nanoseconds> timeout;
  int priority = 0;
  CommonOptions common;
};

using List = std::vector<std::string>;

TEST(CommandWords, AreLeftAloneFromTheFirstOn) {
  Example example(Words::command);
  ASSERT_TRUE(example.parse({"-q", "ls", "-l", "--timeout", "x", "--", "--help"}));
  EXPECT_TRUE(example.quiet);
  EXPECT_FALSE(example.timeout);
  EXPECT_EQ(example.arguments.words(), (List{"ls", "-l", "--timeout", "x", "--", "--help"}));
}

TEST(CommandWords, MayBeginWithADashBehindTwo) {
  Example example(Words::command);
  ASSERT_TRUE(example.parse({"-q", "--", "-x", "--", "-q"}));
  EXPECT_EQ(example.arguments.words(), (List{"-x", "--", "-q"}));
}

TEST(CommandWords, KeepEmptyOnesAndBrackets) {
  Example example(Words::command);
  ASSERT_TRUE(example.parse({"", "[a,b]", "{}", "a=b"}));
  EXPECT_EQ(example.arguments.words(), (List{"", "[a,b]", "{}", "a=b"}));
}

TEST(Operands, MayBeMixedWithOptions) {
  Example example(Words::operands);
  ASSERT_TRUE(example.parse({"1", "-q", "2", "--timeout", "5m", "--", "-3"}));
  EXPECT_TRUE(example.quiet);
  EXPECT_EQ(example.timeout, milliseconds(300'000));
  EXPECT_EQ(example.arguments.words(), (List{"1", "2", "-3"}));
}

TEST(Options, TakeTheirValueInEverySpelling) {
  Example example(Words::command);
  ASSERT_TRUE(
      example.parse({"-C/a", "-C", "-b", "-E", "A=1", "-EB", "-E", "[x]", "--timeout=1.5", "-p", "-5", "x"}));
  EXPECT_EQ(example.directory, "-b");
  EXPECT_EQ(example.variables, (List{"A=1", "B", "[x]"}));
  EXPECT_EQ(example.timeout, milliseconds(1500));
  EXPECT_EQ(example.priority, -5);
  EXPECT_EQ(example.arguments.words(), (List{"x"}));
}

TEST(Options, AreRejectedWithTheirNameAndWhatIsWrong) {
  const auto rejection = [](const std::vector<std::string>& words) {
    return Example(Words::operands).rejection(words);
  };
  EXPECT_NE(rejection({"--timeout", "soon"}).find("--timeout"), std::string::npos);
  EXPECT_NE(rejection({"-p", "11"}).find("from -10 to 10"), std::string::npos);
  EXPECT_NE(rejection({"-p", "1x"}).find("--priority 1x"), std::string::npos);
  EXPECT_NE(rejection({"-p", ""}), "");
  EXPECT_NE(rejection({"-C"}), "");
  EXPECT_NE(rejection({"--system", "--user"}), "");
  EXPECT_NE(rejection({"--timout", "5"}).find("did you mean --timeout?"), std::string::npos);
  EXPECT_NE(rejection({"-z"}).find("unknown option -z"), std::string::npos);
  EXPECT_NE(Example(Words::command).rejection({"-z", "ls"}).find("unknown option -z"), std::string::npos);
  EXPECT_NE(Example(Words::none).rejection({"word"}).find("`word`"), std::string::npos);
}

TEST(CommonOptions, ChooseTheDaemon) {
  Example example(Words::none);
  ASSERT_TRUE(example.parse({"--user", "--json"}));
  EXPECT_EQ(example.common.which, ipc::Which::user);
  EXPECT_TRUE(example.common.json);
}

}  // namespace
}  // namespace baton::ctl
