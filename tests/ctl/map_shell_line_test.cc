#include "ctl/map/shell_line.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ctl/map/shell.h"
#include "ctl/map/shell_words.h"
#include "ctl/map/template.h"
#include "ipc/error.h"
#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

using Words = std::vector<std::string>;

const Words kEnvironment{"HOME=/nonexistent", "PATH=/usr/local/bin:/usr/bin:/bin"};

Words argv(const std::string& line, const std::string& shell = "/bin/bash",
           const Words& environment = kEnvironment) {
  return ShellLine({shell, shellKind(shell)}, environment).toArgv(line);
}

Words byShell(const std::string& line, const std::string& shell = "/bin/bash") {
  return {shell, "-c", line};
}

TEST(MapShellLine, RunsPlainProgramsDirectly) {
  EXPECT_EQ(argv("/bin/true"), Words{"/bin/true"});
  EXPECT_EQ(argv("  gzip -9\t--name  'a b' "), (Words{"gzip", "-9", "--name", "a b"}));
  EXPECT_EQ(argv("dd if=a of=b,c"), (Words{"dd", "if=a", "of=b,c"}));
  EXPECT_EQ(argv("cat 'it'\"'\"'s' '' a\\ b '$x\n*'"), (Words{"cat", "it's", "", "a b", "$x\n*"}));
  EXPECT_EQ(argv("gzip a", "/bin/sh"), (Words{"gzip", "a"}));
}

TEST(MapShellLine, LeavesToTheShellWhatOnlyItUnderstands) {
  for (const std::string line :
       {"cat a; cat b", "cat a &",    "cat a | cat",    "cat < a",      "cat > a",   "cat $x",  "cat `x`",
        "cat \"$x\"",   "cat *",      "cat a?",         "cat [a]",      "cat ~",     "cat a~b", "(cat a)",
        "{ cat a",      "cat {a,b}",  "cat a #b",       "! cat a",      "cat a^b",   "cat 'a",  "cat \"a",
        "cat a\\",      "cat a\\\nb", "cat a\nb",       "A=1 cat a",    "A=1",       "",        "   ",
        "cat =ls",      "cat a\rb",   "cat \"a\\\"b\"", "cat \xc3\xa9", "cat \"!x\""}) {
    EXPECT_EQ(argv(line), byShell(line)) << line;
  }
}

TEST(MapShellLine, IsNoOptionOfTheShell) {
  EXPECT_EQ(argv("-x a"), (Words{"/bin/bash", "-c", " -x a"}));
  EXPECT_EQ(argv("+e a"), (Words{"/bin/bash", "-c", " +e a"}));
}

TEST(MapShellLine, TakesAnAssignmentForNoProgram) {
  EXPECT_EQ(plainWords("A=1 cat"), std::nullopt);
  EXPECT_EQ(plainWords("dd a=1"), (Words{"dd", "a=1"}));
}

TEST(MapShellLine, LeavesBuiltinsAndKeywordsToTheShell) {
  for (const std::string line :
       {"echo a", "test a", "[ a", "printf a", "true", "kill 1", "cd /", "exit 3", "time cat a", "if",
        "exec cat a", ": a", ". a", "'echo' a", "e\\cho a", "wait", "read a"}) {
    EXPECT_EQ(argv(line), byShell(line)) << line;
  }
  EXPECT_EQ(argv("sleep 1", "/bin/ksh"), byShell("sleep 1", "/bin/ksh"));
  EXPECT_EQ(argv("/bin/echo a"), (Words{"/bin/echo", "a"}));
}

TEST(MapShellLine, LeavesWhatIsNoProgramToTheShell) {
  std::string directory = std::filesystem::temp_directory_path() / "baton-map-shell-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string script = directory + "/script";
  std::ofstream(script) << "echo no interpreter line\n";
  EXPECT_EQ(argv(script), byShell(script)) << "not executable";
  ASSERT_EQ(::chmod(script.c_str(), 0755), 0);
  EXPECT_EQ(argv(script), byShell(script)) << "the kernel cannot execute it";
  std::ofstream(script) << "#!/bin/sh\necho\n";
  EXPECT_EQ(argv(script), Words{script});
  EXPECT_EQ(argv(directory), byShell(directory));
  EXPECT_EQ(argv("./script"), byShell("./script")) << "not in our directory";
  ShellLine there({"/bin/sh", ShellKind::sh}, {"PATH=.:/bin"}, directory);
  EXPECT_EQ(there.toArgv("./script"), Words{"./script"});
  EXPECT_EQ(there.toArgv("script a"), (Words{"script", "a"}));
  EXPECT_EQ(argv("no-such-program a"), byShell("no-such-program a"));
  std::filesystem::remove_all(directory);
}

TEST(MapShellLine, LeavesItToTheShellThatDefinesMore) {
  Words environment = kEnvironment;
  environment.emplace_back("BASH_FUNC_gzip%%=() {  echo mine\n}");
  EXPECT_EQ(argv("gzip a", "/bin/bash", environment), byShell("gzip a"));
  EXPECT_EQ(argv("cat a", "/bin/bash", environment), (Words{"cat", "a"}));
  environment.emplace_back("BASH_ENV=/etc/profile");
  EXPECT_EQ(argv("cat a", "/bin/bash", environment), byShell("cat a"));
  for (const std::string shell : {"/usr/bin/fish", "/bin/tcsh", "/usr/bin/python3"}) {
    EXPECT_EQ(argv("cat a", shell), byShell("cat a", shell));
  }
  EXPECT_EQ(argv("cat a", "/bin/zsh"), (Words{"cat", "a"}));
  EXPECT_EQ(argv("cat a", "/bin/zsh", {"PATH=/bin"}), byShell("cat a", "/bin/zsh")) << "no HOME: who knows";
}

TEST(MapShellLine, RefusesWhatTheKernelWouldNotTake) {
  EXPECT_EQ(argv("cat " + std::string(131071, 'x'))[1].size(), 131071u);
  EXPECT_EQ(test::run(argv("ls " + std::string(131071, 'x'))).status, 2) << "the kernel takes it";
  EXPECT_THROW(argv("cat " + std::string(131072, 'x')), Error);
  EXPECT_THROW(argv("echo " + std::string(131072, 'x')), Error);
}

TEST(MapShellLine, DirectAndShellPrintTheSame) {
  const Words values{"",   "a b", "it's", "$HOME", "`id`", "*",  "\\n",  "\\", "~",    "a=b", "=ls",
                     "-n", "{}",  "!x",   "#x",    "a\nb", "\t", "\xff", "é",  "a\"b", "%s",  "''"};
  ShellLine lines({"/bin/bash", ShellKind::bash}, kEnvironment);
  const Template command({"/usr/bin/printf", "'<%s>\\n'", "{}", "x{}y", "\"{}\""});
  for (const std::string& value : values) {
    const std::string line = command.render({value}, 1, 1);
    const Words direct = lines.toArgv(line);
    if (value.find_first_of("$`\\!\"'") == std::string::npos) {
      EXPECT_EQ(direct.front(), "/usr/bin/printf") << line;
    }
    for (const std::string shell : {"/bin/sh", "/bin/bash"}) {
      EXPECT_EQ(test::run(direct).out, test::run({shell, "-c", line}).out) << line;
    }
  }
}

TEST(MapShellLine, BashHasNoBuiltinThatWeRunDirectly) {
  const std::string names = test::run({"bash", "-c", "compgen -b; compgen -k"}).out;
  std::size_t at = 0;
  std::size_t known = 0;
  for (std::size_t end = 0; (end = names.find('\n', at)) != std::string::npos; at = end + 1) {
    EXPECT_TRUE(isBuiltin(names.substr(at, end - at), ShellKind::bash)) << names.substr(at, end - at);
    ++known;
  }
  EXPECT_GT(known, 70u);
}

TEST(MapShell, IsChosenInOrder) {
  EXPECT_EQ(chooseShell({"/bin/zsh", "/bin/bash", "/bin/fish"}).path, "/bin/zsh");
  EXPECT_EQ(chooseShell({"", "/bin/bash", "/bin/fish"}).path, "/bin/bash");
  EXPECT_EQ(chooseShell({nullptr, std::nullopt, "/bin/fish"}).kind, ShellKind::fish);
  EXPECT_EQ(chooseShell({nullptr, std::nullopt, ""}).path, "/bin/sh");
}

TEST(MapShell, IsRecognisedAsAProcess) {
  EXPECT_EQ(shellOfProcess(::getpid()), std::nullopt) << "the test is no shell";
  EXPECT_EQ(shellOfProcess(0), std::nullopt);
  // A shell that waits for us on a pipe while it is looked at.
  const auto seenAs = [](const char* program, const char* name) {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    int started[2];
    EXPECT_EQ(::pipe2(started, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(ends[0], 0);
      ::dup2(started[1], 1);
      ::execl(program, name, "-c", "echo; read x; :", nullptr);
      ::_exit(1);
    }
    ::close(started[1]);
    char byte = 0;
    EXPECT_EQ(::read(started[0], &byte, 1), 1);
    auto shell = shellOfProcess(child);
    for (const int fd : {ends[0], ends[1], started[0]}) ::close(fd);
    ::waitpid(child, nullptr, 0);
    return shell;
  };
  const auto bash = seenAs("/bin/bash", "bash");
  ASSERT_TRUE(bash);
  EXPECT_EQ(shellKind(*bash), ShellKind::bash);
  EXPECT_EQ(seenAs("/bin/sh", "sh"), "/bin/sh");
}

}  // namespace
}  // namespace baton::ctl::map
