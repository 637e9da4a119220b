#include "ctl/map/template.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

using Words = std::vector<std::string>;

std::string line(const Words& command, const Arguments& arguments, std::uint64_t sequence = 1,
                 std::uint64_t slot = 1) {
  return Template(command).render(arguments, sequence, slot);
}

// Values that have broken quoting or paths somewhere, one a line.
constexpr std::string_view kNasty = R"(a
a b
 lead
trail 
it's
'
''
'a'
a''b
"
$HOME
`id`
$(id)
\
a\nb
\\
*
?.cc
[ab]
~
~root
a=b
=x
-n
--
-
{}
{1}
{#}
{%}
{
}
a;b
a&b
a|b
<a>
(a)
!x
#x
^x
a%b
a@b
a,b
é
日本
a/b.c
.bashrc
a/.b
a.b/c
a.b.c
/
//
a/
a//
a/b/
/a
a/b//c
.
..
a.
//a//b//)";

// The above, an empty one, control and invalid bytes, and long ones. None has a newline: those are in
// nastyLines().
Words nastyValues() {
  Words values{"", "\t", "a\tb", "\r", "a\rb", "\x80", "\xff\xfe", "\x1b[31m", "\x01"};
  values.emplace_back(8000, 'x');
  values.emplace_back(500, '\'');
  std::string_view rest = kNasty;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    values.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return values;
}

Words nastyLines() {
  return {"a\nb", "\n", "a\n", "\n\n'", "x y\n$z\n"};
}

std::string nulSeparated(const Words& values) {
  std::string text;
  for (const std::string& value : values) text += value + '\0';
  return text;
}

// The two texts from their first difference on, or nothing.
std::string difference(const std::string& ours, const std::string& theirs) {
  if (ours == theirs) return "";
  const auto at = std::mismatch(ours.begin(), ours.end(), theirs.begin(), theirs.end()).first - ours.begin();
  const auto from = static_cast<std::size_t>(std::max<std::ptrdiff_t>(at - 20, 0));
  return "ours …" + ours.substr(from, 80) + "… theirs …" + theirs.substr(std::min(from, theirs.size()), 80) +
         "…";
}

TEST(MapTemplate, AppendsTheArgumentsWhereNoReplacementStands) {
  EXPECT_EQ(line({"gzip", "-9"}, {"a b"}), "gzip -9 'a b'");
  EXPECT_EQ(line({"echo"}, {"a", "b"}), "echo a b");
  EXPECT_EQ(line({"echo", "{#}"}, {"a"}, 7), "echo 7");
  EXPECT_EQ(line({"echo", "{%}"}, {"a"}, 7, 3), "echo 3");
}

TEST(MapTemplate, TakesTheLineItselfWhereNoCommandIsGiven) {
  EXPECT_EQ(line({}, {"echo 'a  b'; exit 3"}), "echo 'a  b'; exit 3");
  EXPECT_EQ(line({}, {"echo {} {#}", "$x"}), "echo {} {#} $x");
}

TEST(MapTemplate, DoesNotReplaceInsideValues) {
  EXPECT_EQ(line({"echo", "{}", "{#}"}, {"{#}{1}"}, 4), "echo '{#}{1}' 4");
}

TEST(MapTemplate, KnowsWhetherASlotIsNeeded) {
  EXPECT_TRUE(Template({"echo", "a{%}"}).usesSlot());
  EXPECT_FALSE(Template({"echo", "{}"}).usesSlot());
}

TEST(MapTemplate, TakesPathsWithNewlinesApartAtTheLastSlash) {
  EXPECT_EQ(line({"echo", "{/}"}, {"a\n/b/c\nd"}), "echo 'c\nd'");
  EXPECT_EQ(line({"echo", "{//}"}, {"a\n/b/c"}), "echo 'a\n/b'");
}

TEST(MapTemplate, JoinsTheTagByBlanks) {
  EXPECT_EQ(tagOf({"a b", "", "c\td"}), "a b  c\td");
}

TEST(MapTemplate, QuotesForFishAndCsh) {
  EXPECT_EQ(quote("a\\b'c", Quoting::fish), "'a\\\\b'\"'\"'c'");
  EXPECT_EQ(quote("a!\nb", Quoting::csh), "'a\\!\\\nb'");
}

TEST(MapTemplateAgainstParallel, RendersNastyValuesAlike) {
  SKIP_WITHOUT_PARALLEL();
  const auto compare = [](const Words& command, const Words& values) {
    Words words{"-0", "--dry-run"};
    words.insert(words.end(), command.begin(), command.end());
    std::string expected;
    for (std::size_t i = 0; i < values.size(); ++i) expected += line(command, {values[i]}, i + 1) + "\n";
    EXPECT_EQ(difference(expected, test::parallel(words, nulSeparated(values)).out), "") << command.back();
  };
  Words values = nastyValues();
  for (const std::string& value : nastyLines()) values.push_back(value);
  compare({"echo", "x{}y", "\"{}\"", "{}.gz", "{}{}"}, values);
  compare({"x{}"}, values);
  for (int byte = 1; byte < 256; ++byte) values.emplace_back(1, static_cast<char>(byte));
  compare({"echo"}, values);
}

TEST(MapTemplateAgainstParallel, TakesPathsApartAlike) {
  SKIP_WITHOUT_PARALLEL();
  const Words values = nastyValues();
  const Words command{"echo", "{.}", "{/}", "{//}", "{/.}", "{1.}{1/}{1//}{1/.}", "{#}", "{%}"};
  Words words{"-0", "--dry-run"};
  words.insert(words.end(), command.begin(), command.end());
  std::string expected;
  for (std::size_t i = 0; i < values.size(); ++i) expected += line(command, {values[i]}, i + 1) + "\n";
  EXPECT_EQ(difference(expected, test::parallel(words, nulSeparated(values)).out), "");
}

TEST(MapTemplateAgainstParallel, UnderstandsEveryCommandAlike) {
  SKIP_WITHOUT_PARALLEL();
  const std::vector<Words> commands{{"echo", "{2}-{1}"},
                                    {"echo", "{1}", "{}"},
                                    {"echo", "{0}", "{-1}", "{-2}", "{3}"},
                                    {"echo {01} {10}"},
                                    {"echo", "{", "}", "{ }", "{..}", "{+1}", "{a,b}", "{1", "1}"},
                                    {"{}", "x"},
                                    {"{1} && {2}"},
                                    {" {}"},
                                    {"x{1}", "{2}"},
                                    {"x;{1}", "{2}"},
                                    {"\"x {}\""},
                                    {"x\t{}"},
                                    {"x\n{}"},
                                    {"echo", "{{1}}", "{1}}", "\\{}", "${1}"},
                                    {"echo", "a   b", "", "c"},
                                    {""},
                                    {"echo", "{.1}", "{#.}", "{%/}", "{##}"},
                                    {"{#};{1}"},
                                    {"echo\n"},
                                    {"echo {-1.} {-1/.} {2//}"}};
  for (const Words& command : commands) {
    Words words{"--dry-run"};
    words.insert(words.end(), command.begin(), command.end());
    words.insert(words.end(), {":::", "a b/c;d.e", ":::", "$x/y z.w"});
    EXPECT_EQ(test::parallel(words).out, line(command, {"a b/c;d.e", "$x/y z.w"}) + "\n") << command.front();
  }
}

TEST(MapTemplateAgainstParallel, GivesTheShellTheSameBytes) {
  SKIP_WITHOUT_PARALLEL();
  Words values = nastyValues();
  for (const std::string& value : nastyLines()) values.push_back(value);
  const Words command{"printf", "'<%s>\\n'", "{}", "x{}y"};
  Words words{"-0"};
  words.insert(words.end(), command.begin(), command.end());
  const std::string real = test::parallel(words, nulSeparated(values)).out;
  for (const std::string shell : {"/bin/sh", "/bin/bash"}) {
    std::string printed;
    for (const std::string& value : values) printed += test::run({shell, "-c", line(command, {value})}).out;
    EXPECT_EQ(difference(printed, real), "") << shell;
  }
}

}  // namespace
}  // namespace baton::ctl::map
