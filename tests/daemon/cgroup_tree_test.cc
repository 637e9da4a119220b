// The daemon's cgroups: whether they are ours, and the real ones, where this machine lets us make them.
#include "daemon/cgroup_tree.h"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>

#include "daemon/cgroup_delegation.h"
#include "tests/daemon/cgroup_fixture.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::daemon {
namespace {

using baton::test::CgroupDirectory;
using baton::test::cgroupMountPoint;
using baton::test::kNoCgroup;
using baton::worker::test::alive;
using baton::worker::test::eventually;
using baton::worker::test::readText;
using baton::worker::test::TemporaryDirectory;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A user's own, where no systemd is.
CgroupFacts given() {
  CgroupFacts facts;
  facts.mounted = true;
  facts.path = "/anna";
  facts.directory = "/sys/fs/cgroup/anna";
  facts.domain = true;
  facts.canKill = true;
  facts.writable = true;
  facts.ours = true;
  return facts;
}

std::string whyNot(const std::function<void(CgroupFacts&)>& change) {
  auto facts = given();
  change(facts);
  return whyNotDelegated(facts);
}

TEST(CgroupDelegation, whatBelongsToAUserIsHis) {
  EXPECT_EQ(whyNotDelegated(given()), "");
  EXPECT_THAT(whyNot([](auto& facts) { facts.ours = false; }), HasSubstr("not delegated"));
}

TEST(CgroupDelegation, whereSystemdManagesOnlyWhatItGaveAway) {
  const auto inUnit = [](auto& facts) { facts.systemd = true; };
  EXPECT_THAT(whyNot(inUnit), HasSubstr("systemd's"));
  EXPECT_EQ(whyNot([&](auto& facts) { inUnit(facts), facts.marked = true; }), "");
  EXPECT_EQ(whyNot([&](auto& facts) { inUnit(facts), facts.told = true; }), "");
}

TEST(CgroupDelegation, rootOwnsTheRootOfAContainerAndNoMore) {
  const auto root = [](auto& facts) { facts.superuser = true; };
  EXPECT_THAT(whyNot(root), HasSubstr("not delegated"));
  EXPECT_EQ(whyNot([&](auto& facts) { root(facts), facts.path = "/"; }), "");
  EXPECT_THAT(whyNot([&](auto& facts) { root(facts), facts.path = "/", facts.ours = false; }),
              HasSubstr("not delegated"));
  EXPECT_THAT(whyNot([&](auto& facts) { root(facts), facts.path = "/", facts.systemd = true; }),
              HasSubstr("systemd's"));
}

TEST(CgroupDelegation, whatCannotBeUsedIsNotWhoeverSaysSo) {
  const auto told = [](auto& facts) { facts.told = facts.marked = true; };
  EXPECT_EQ(whyNot(told), "");
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.machineRoot = true; }), HasSubstr("nobody's"));
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.writable = false; }), HasSubstr("not writable"));
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.domain = false; }), HasSubstr("threads"));
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.canKill = false; }), HasSubstr("5.14"));
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.directory = ""; }), HasSubstr("not to be seen"));
  EXPECT_THAT(whyNot([&](auto& facts) { told(facts), facts.mounted = false; }), HasSubstr("mounted"));
  EXPECT_EQ(whyNot([&](auto& facts) { facts.path = "/\x1b[2J", facts.ours = false; }).find('\x1b'),
            std::string::npos);
}

void enter(const std::string& cgroup) {
  std::ofstream(cgroup + "/cgroup.procs") << ::getpid() << std::flush;
}

// Runs `body` in a process of its own that has entered the cgroup; its exit code, -1 if it was killed.
int inProcessIn(const std::string& cgroup, const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    enter(cgroup);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A process in the cgroup that does not end by itself; a child of the test.
pid_t sleeperIn(const std::string& cgroup) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    enter(cgroup);
    for (;;) ::pause();
  }
  EXPECT_TRUE(eventually(
      [&] { return readText(cgroup + "/cgroup.procs").find(std::to_string(pid)) != std::string::npos; }));
  return pid;
}

bool wasKilled(pid_t pid) {
  int status = 0;
  return eventually([&] { return ::waitpid(pid, &status, WNOHANG) == pid; }) && WIFSIGNALED(status);
}

// Keeps a daemon's tree from moving the test itself: somebody else is in the cgroup.
class Neighbour {
 public:
  explicit Neighbour(const std::string& cgroup) : pid_(sleeperIn(cgroup)) {}
  ~Neighbour() {
    ::kill(pid_, SIGKILL);
    EXPECT_TRUE(wasKilled(pid_));
  }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

 private:
  pid_t pid_;
};

std::vector<std::string> childrenOf(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  return names;
}

TEST(CgroupTree, isMadeBelowWhatWasGivenAndLeavesNothing) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  const int code = inProcessIn(given.path(), [&] {
    CgroupTree tree(state.path());
    if (tree.made() || !tree.directoryOf(Lane::cpu, 1).empty()) return 1;
    if (!tree.make(given.path(), 0) || !tree.made()) return 2;
    if (tree.base().rfind(given.path() + "/baton-", 0) != 0) return 3;
    if (tree.directoryOf(Lane::cpu, 7) != tree.base() + "/cpu/w7") return 4;
    if (tree.directoryOf(Lane::io, 8) != tree.base() + "/io/w8") return 5;
    if (readText(state.file("cgroups")) != tree.base() + "\n") return 6;
    tree.remove();
    return childrenOf(given.path()).empty() && !std::filesystem::exists(state.file("cgroups")) ? 0 : 7;
  });
  EXPECT_EQ(code, 0);
}

TEST(CgroupTree, aKilledPredecessorsIsEnded) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  std::string base;
  inProcessIn(given.path(), [&]() -> int {
    CgroupTree tree(state.path());
    tree.make(given.path(), 0);
    std::filesystem::create_directories(tree.directoryOf(Lane::cpu, 1) + "/nested");
    std::filesystem::create_directory(tree.directoryOf(Lane::io, 2));
    ::_exit(0);  // no destructor runs
  });
  base = readText(state.file("cgroups"));
  ASSERT_FALSE(base.empty());
  base.pop_back();
  const pid_t cpu = sleeperIn(base + "/cpu/w1/nested");
  const pid_t io = sleeperIn(base + "/io/w2");
  const CgroupTree next(state.path());
  EXPECT_TRUE(wasKilled(cpu));
  EXPECT_TRUE(wasKilled(io));
  EXPECT_THAT(childrenOf(given.path()), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(state.file("cgroups")));
}

TEST(CgroupTree, onlyWhatItMadeIsEnded) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  const TemporaryDirectory other;
  const auto foreign = given.path() + "/foreign";
  std::filesystem::create_directories(foreign + "/cpu");
  std::filesystem::create_directories(other.file("baton-0123456789abcdef") + "/cpu");
  const pid_t sleeper = sleeperIn(foreign + "/cpu");
  const Neighbour neighbour(given.path());
  CgroupTree theirs(other.path());
  ASSERT_TRUE(theirs.make(given.path(), 0));
  std::ofstream(state.file("cgroups")) << foreign << "\n"
                                       << other.file("baton-0123456789abcdef") << "\nbaton-0\n\n/\n";
  { CgroupTree tree(state.path()); }
  EXPECT_TRUE(alive(sleeper));
  EXPECT_TRUE(std::filesystem::exists(other.file("baton-0123456789abcdef") + "/cpu"));
  EXPECT_TRUE(std::filesystem::exists(theirs.base()));
  EXPECT_TRUE(ipc::endCgroup(foreign, std::chrono::seconds(10)));
  EXPECT_TRUE(wasKilled(sleeper));
}

TEST(CgroupTree, whatIsDetachedGoesOnWhereTheDaemonWas) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  const Neighbour neighbour(given.path());
  CgroupTree tree(state.path());
  ASSERT_TRUE(tree.make(given.path(), 0));
  std::filesystem::create_directory(tree.base() + "/daemon");
  const pid_t sleeper = sleeperIn(tree.base() + "/daemon");
  EXPECT_TRUE(endCgroupTree(tree.base()));
  EXPECT_TRUE(alive(sleeper));
  EXPECT_THAT(readText(given.path() + "/cgroup.procs"), HasSubstr(std::to_string(sleeper) + "\n"));
  EXPECT_THAT(childrenOf(given.path()), IsEmpty());
  ::kill(sleeper, SIGKILL);
  EXPECT_TRUE(wasKilled(sleeper));
}

TEST(CgroupTree, killingTheLanesSparesTheDaemon) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  const Neighbour neighbour(given.path());
  CgroupTree tree(state.path());
  ASSERT_TRUE(tree.make(given.path(), 0));
  std::filesystem::create_directory(tree.base() + "/daemon");
  std::filesystem::create_directory(tree.directoryOf(Lane::cpu, 1));
  const pid_t daemon = sleeperIn(tree.base() + "/daemon");
  const pid_t task = sleeperIn(tree.directoryOf(Lane::cpu, 1));
  killCgroupLanes(tree.base());
  EXPECT_TRUE(wasKilled(task));
  EXPECT_TRUE(alive(daemon));
  ::kill(daemon, SIGKILL);
  EXPECT_TRUE(wasKilled(daemon));
}

TEST(CgroupTree, controllersAreEnabledWhereNobodyElseIs) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  if (readText(given.path() + "/cgroup.controllers").find("memory") == std::string::npos) {
    GTEST_SKIP() << "needs the memory controller in cgroup v2";
  }
  const TemporaryDirectory state;
  const int code = inProcessIn(given.path(), [&] {
    CgroupTree tree(state.path());
    if (!tree.make(given.path(), 0) || !tree.measuresMemory() || !tree.notes().empty() != !tree.weighsLanes())
      return 1;
    if (readText(given.path() + "/cgroup.procs") != "") return 2;
    if (readText(tree.base() + "/cpu/cgroup.subtree_control").find("memory") == std::string::npos) return 3;
    if (tree.weighsLanes() && readText(tree.base() + "/io/cpu.weight") != "10\n") return 4;
    std::filesystem::create_directory(tree.directoryOf(Lane::cpu, 1));
    if (!std::filesystem::exists(tree.directoryOf(Lane::cpu, 1) + "/memory.events")) return 5;
    tree.remove();
    if (readText(given.path() + "/cgroup.subtree_control") != "\n") return 6;
    return readText(given.path() + "/cgroup.procs") == std::to_string(::getpid()) + "\n" ? 0 : 7;
  });
  EXPECT_EQ(code, 0);
}

TEST(CgroupTree, othersAreNotMoved) {
  const CgroupDirectory given(cgroupMountPoint("cgroup2"));
  if (!given) GTEST_SKIP() << kNoCgroup;
  const TemporaryDirectory state;
  const pid_t other = sleeperIn(given.path());
  const int code = inProcessIn(given.path(), [&] {
    CgroupTree tree(state.path());
    if (!tree.make(given.path(), 0) || tree.notes().empty()) return 1;
    return tree.measuresMemory() || tree.weighsLanes() || std::filesystem::exists(tree.base() + "/daemon")
               ? 2
               : 0;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(readText(given.path() + "/cgroup.procs"), std::to_string(other) + "\n");
  ::kill(other, SIGKILL);
  EXPECT_TRUE(wasKilled(other));
  EXPECT_THAT(childrenOf(given.path()), IsEmpty());
}

TEST(CgroupTree, whatCannotBeMadeIsSaid) {
  const TemporaryDirectory state;
  CgroupTree tree(state.path());
  EXPECT_FALSE(tree.make("/no/such", 0));
  EXPECT_FALSE(tree.made());
  EXPECT_THAT(tree.notes(), ElementsAre(HasSubstr("No such file")));
  EXPECT_FALSE(std::filesystem::exists(state.file("cgroups")));
}

}  // namespace
}  // namespace baton::daemon
