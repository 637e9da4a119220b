// Finding and killing the processes below one; here that one is the test itself.
#include <gmock/gmock.h>
#include <sys/prctl.h>

#include "daemon/worker/process_tree.h"
#include "daemon/worker/tree_end.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using State = TreeEnd::State;

// A child that waits to be killed; `setUp` runs in it first.
pid_t child(const std::function<void()>& setUp = [] {}) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    setUp();
    for (;;) ::pause();
  }
  return pid;
}

// Runs TreeEnd as the worker's loop does.
State endTree(TreeEnd& tree) {
  tree.begin(Clock::now(), nullptr);
  for (;;) {
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    const State state = tree.step(pid < 0, Clock::now());
    if (state != State::busy) return state;
    std::this_thread::sleep_until(tree.deadline());
  }
}

TEST(ProcessTree, childrenAreFoundByTheKernelsListAndByScan) {
  const pid_t one = child();
  const pid_t two = child();
  EXPECT_THAT(childrenOfSelf(), testing::UnorderedElementsAre(one, two));
  EXPECT_THAT(childrenOfSelfByScan(), testing::UnorderedElementsAre(one, two));
  const std::vector<pid_t> none;
  TreeEnd all(none);
  EXPECT_EQ(endTree(all), State::gone);
  EXPECT_TRUE(childrenOfSelfByScan().empty());
}

TEST(ProcessTree, statFieldsSurviveOddNames) {
  const pid_t pid = child([] { ::prctl(PR_SET_NAME, ") R 1 (x"); });
  EXPECT_TRUE(eventually([&] { return readText("/proc/" + std::to_string(pid) + "/comm") == ") R 1 (x\n"; }));
  EXPECT_TRUE(eventually([&] { return readProcessStat(pid)->state == 'S'; }));
  EXPECT_EQ(readProcessStat(pid)->parent, ::getpid());
  EXPECT_GT(readProcessStat(pid)->startTicks, 0U);
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  EXPECT_FALSE(readProcessStat(pid));
}

TEST(ProcessTree, signalsReachAllButTheExcluded) {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t alone = child([] {
    child();
    ::signal(SIGTERM, SIG_IGN);
  });
  const pid_t whole = child([] { child(); });
  EXPECT_TRUE(eventually([&] { return descendantsOfSelf({}).size() == 4; }));
  EXPECT_EQ(descendantsOfSelf({{alone}, {whole}}).size(), 1U);
  signalDescendants(SIGTERM, {{alone}, {whole}});
  EXPECT_TRUE(eventually([&] { return descendantsOfSelf({{}, {whole}}).size() == 2; }));  // one is a zombie
  EXPECT_TRUE(alive(alone));
  EXPECT_TRUE(alive(whole));
  EXPECT_TRUE(signalChildOf(::getpid(), whole, SIGTERM));
  EXPECT_FALSE(signalChildOf(whole, alone, SIGKILL));
  const std::vector<pid_t> none;
  TreeEnd tree(none);
  EXPECT_EQ(endTree(tree), State::gone);
}

TEST(TreeEnd, whatIsSparedStays) {
  const std::vector<pid_t> spared{child()};
  child();
  child();
  TreeEnd tree(spared);
  EXPECT_EQ(endTree(tree), State::gone);
  EXPECT_TRUE(alive(spared[0]));
  EXPECT_EQ(childrenOfSelfByScan(), spared);
  ::kill(spared[0], SIGKILL);
  ::waitpid(spared[0], nullptr, 0);
}

TEST(TreeEnd, processesOfAnotherUserEscapeAfterATime) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make a process of another user";
  // In a process of its own, which gives up its rights after it has made a child that keeps them.
  const pid_t runner = ::fork();
  if (runner == 0) {
    const pid_t stranger = child();
    if (::setresuid(65534, 65534, 65534) < 0) ::_exit(9);
    const std::vector<pid_t> none;
    TreeEnd tree(none, {.escape = 100ms, .unkillable = 60s});
    const bool escaped = endTree(tree) == State::escaped;
    ::_exit(escaped && tree.remaining() == std::vector<pid_t>{stranger} ? 0 : 1);
  }
  int status = 0;
  // The stranger becomes this process's child.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::waitpid(runner, &status, 0);
  EXPECT_EQ(status, 0);
  for (const pid_t pid : childrenOfSelf()) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

// A process that the kernel holds: frozen by a v1 freezer, where KILL waits until it is thawed.
TEST(TreeEnd, aProcessThatHangsInTheKernelIsUnkillableAfterALongerTime) {
  const std::string cgroup = "/sys/fs/cgroup/freezer/baton-test-" + std::to_string(::getpid());
  std::error_code error;
  if (!std::filesystem::create_directory(cgroup, error)) GTEST_SKIP() << "no v1 freezer can be used here";
  const pid_t frozen = child();
  std::ofstream(cgroup + "/cgroup.procs") << frozen << std::flush;
  std::ofstream(cgroup + "/freezer.state") << "FROZEN" << std::flush;
  ASSERT_TRUE(eventually([&] { return readText(cgroup + "/freezer.state") == "FROZEN\n"; }));
  const std::vector<pid_t> none;
  TreeEnd tree(none, {.escape = 100ms, .unkillable = 400ms});
  const auto begin = Clock::now();
  EXPECT_EQ(endTree(tree), State::unkillable);
  EXPECT_GE(Clock::now() - begin, 400ms);
  EXPECT_EQ(tree.remaining(), std::vector<pid_t>{frozen});
  std::ofstream(cgroup + "/freezer.state") << "THAWED" << std::flush;
  ::waitpid(frozen, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return ::rmdir(cgroup.c_str()) == 0; }));
}

}  // namespace
}  // namespace baton::worker::test
