#include "daemon/slots.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/cgroup_mounts.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

namespace fs = std::filesystem;

// A made machine: a tree with proc files and cgroup directories.
class Machine {
 public:
  Machine() {
    std::string path = ::testing::TempDir() + "machineXXXXXX";
    root_ = mkdtemp(path.data());
    write("proc/cgroup", "");
    write("proc/mountinfo", "");
  }
  ~Machine() { fs::remove_all(root_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  SlotCount count(const std::string& spelling = "100%", unsigned affinity = 16) const {
    return countSlots(spelling, {.procSelf = root_ / "proc", .root = root_, .affinity = affinity});
  }

 private:
  fs::path root_;
};

constexpr const char* kUnified =
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kHybrid =
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

TEST(SlotSpelling, isThatOfJobs) {
  for (const char* good : {"1", "8", "8192", "-4", "-0", "+2", "75%", "100%", "10000%"})
    EXPECT_TRUE(parseSlots(good)) << good;
  for (const char* bad : {"", "0", "0%", "8193", "10001%", "%", "-", "+", "--1", "+-1", "1.5", "8 ", " 8",
                          "8x", "-75%", "75%%", "all", "99999999999999999999"}) {
    EXPECT_FALSE(parseSlots(bad)) << bad;
  }
}

TEST(Slots, spellingIsAppliedToTheMachine) {
  const Machine machine;
  EXPECT_EQ(machine.count("100%").slots, 16U);
  EXPECT_EQ(machine.count("100%").reason, "16 CPUs in the affinity mask");
  EXPECT_EQ(machine.count("100%", 1).reason, "1 CPU in the affinity mask");
  EXPECT_EQ(machine.count("8").slots, 8U);
  EXPECT_EQ(machine.count("40").slots, 40U);
  EXPECT_EQ(machine.count("-4").slots, 12U);
  EXPECT_EQ(machine.count("-4").reason, "16 CPUs in the affinity mask; config slots = -4 makes 12");
  EXPECT_EQ(machine.count("-40").slots, 1U);
  EXPECT_EQ(machine.count("+2").slots, 18U);
  EXPECT_EQ(machine.count("75%").slots, 12U);
  EXPECT_EQ(machine.count("75%", 3).slots, 2U);
  EXPECT_EQ(machine.count("1%").slots, 1U);
  EXPECT_EQ(machine.count("10000%", 8192).slots, kMaxSlots);
  EXPECT_THROW(machine.count("many"), Error);
}

TEST(Slots, unreadableMaskIsOneSlot) {
  const SlotCount count = Machine().count("100%", 0);
  EXPECT_EQ(count.slots, 1U);
  EXPECT_EQ(count.reason, "the affinity mask cannot be read");
}

TEST(Slots, leastQuotaOfAllCgroupsAbove) {
  const Machine machine;
  machine.write("proc/mountinfo", kUnified);
  machine.write("proc/cgroup", "0::/a/b/c\n");
  machine.write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
  EXPECT_EQ(machine.count().slots, 16U);
  machine.write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(machine.count().slots, 2U);
  EXPECT_EQ(machine.count("100%", 2).reason, "2 CPUs in the affinity mask, cgroup quota 150% allows 2");
  machine.write("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
  EXPECT_EQ(machine.count().slots, 1U);
  machine.write("sys/fs/cgroup/a/cpu.max", "800000 100000\n");
  EXPECT_EQ(machine.count().slots, 2U);
  EXPECT_EQ(machine.count("-1").slots, 1U);
  machine.write("sys/fs/cgroup/a/b/cpu.max", "300000 100000\n");
  EXPECT_EQ(machine.count().slots, 3U);
  EXPECT_EQ(machine.count("100%", 2).slots, 2U);
}

TEST(Slots, quotaOfVersionOneInAHybridHierarchy) {
  const Machine machine;
  machine.write("proc/mountinfo", kHybrid);
  machine.write("proc/cgroup", "7:blkio:/other\n3:cpuset:/\n2:cpu,cpuacct:/jobs/x:y\n0::/jobs\n");
  machine.write("sys/fs/cgroup/cpu,cpuacct/jobs/x:y/cpu.cfs_quota_us", "-1\n");
  machine.write("sys/fs/cgroup/cpu,cpuacct/jobs/x:y/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(machine.count().slots, 16U);
  machine.write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "250000\n");
  machine.write("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(machine.count().slots, 5U);
  machine.write("sys/fs/cgroup/unified/jobs/cpu.max", "200000 100000\n");
  EXPECT_EQ(machine.count().slots, 2U);
  // A file of that name in a hierarchy without the cpu controller means nothing.
  machine.write("sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "1000\n");
  machine.write("sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(machine.count().slots, 2U);
}

TEST(Slots, mountThatShowsPartOfTheTree) {
  const Machine machine;
  machine.write("proc/mountinfo",
                "31 23 0:28 /docker/abc /sys/fs/my\\040cgroup ro - cgroup2 cgroup rw\n"
                "32 23 0:28 /elsewhere /mnt rw - cgroup2 cgroup rw\n");
  machine.write("sys/fs/my cgroup/cpu.max", "400000 100000");
  machine.write("sys/fs/my cgroup/inner/cpu.max", "300000 100000");
  machine.write("mnt/cpu.max", "100000 100000");
  machine.write("proc/cgroup", "0::/docker/abc/inner\n");
  EXPECT_EQ(machine.count().slots, 3U);
  machine.write("proc/cgroup", "0::/docker/abc\n");
  EXPECT_EQ(machine.count().slots, 4U);
}

TEST(Slots, cgroupOutsideOfTheNamespaceFallsBackToTheMount) {
  const Machine machine;
  machine.write("proc/mountinfo", kUnified);
  machine.write("sys/fs/cgroup/cpu.max", "400000 100000");
  machine.write("sys/fs/outside/cpu.max", "100000 100000");  // no cgroup, though the names lead there
  for (const char* line : {"0::/../outside\n", "0::/..\n", "0::/\n"}) {
    machine.write("proc/cgroup", line);
    EXPECT_EQ(machine.count().slots, 4U) << line;
  }
}

TEST(Slots, damagedFilesLimitNothing) {
  const Machine machine;
  machine.write("proc/mountinfo", std::string("garbage\n - cgroup2\n1 2 3 / - cgroup2 x y\n\\") + kUnified);
  for (const char* text : {"", "max", "100000", "x y", "-1 100000", "0 100000", "100000 0", "nan nan"}) {
    machine.write("proc/cgroup", "junk\n:\n0:\n0::/a\n");
    machine.write("sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(machine.count().slots, 16U) << text;
  }
}

// Runs `child` in a process of its own and gives the small number it returns.
template <typename Child>
int inProcess(Child child) {
  const pid_t pid = fork();
  if (pid == 0) _exit(child());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Slots, realAffinityMask) {
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  const int one = inProcess([&] {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&mask) == 0; ++cpu) {
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &mask);
    }
    sched_setaffinity(0, sizeof mask, &mask);
    return static_cast<int>(countSlots("100%").slots);
  });
  EXPECT_EQ(one, 1);
  EXPECT_LE(countSlots("100%").slots, static_cast<unsigned>(CPU_COUNT(&all)));
}

TEST(Slots, realQuotaOfVersionOne) {
  std::ifstream file("/proc/self/mountinfo");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::string mount;
  for (const CgroupMount& candidate : parseCgroupMounts(text)) {
    if (candidate.controllers.find(",cpu,") != std::string::npos && !candidate.unified)
      mount = candidate.point;
  }
  const std::string group = mount + "/baton-slots-test-" + std::to_string(getpid());
  std::error_code error;
  if (mount.empty() || geteuid() != 0 || !fs::create_directory(group, error)) {
    GTEST_SKIP() << "needs root and a cgroup v1 cpu controller";
  }
  const int slots = inProcess([&] {
    std::ofstream(group + "/cpu.cfs_period_us") << 100000;
    std::ofstream(group + "/cpu.cfs_quota_us") << 50000;
    std::ofstream(group + "/cgroup.procs") << getpid();
    const SlotCount count = countSlots("100%", {.procSelf = "/proc/self", .root = "", .affinity = 7});
    return count.reason == "7 CPUs in the affinity mask, cgroup quota 50% allows 1"
               ? static_cast<int>(count.slots)
               : 99;
  });
  EXPECT_EQ(slots, 1);
  fs::remove(group, error);
  EXPECT_FALSE(fs::exists(group));
}

}  // namespace
}  // namespace baton::daemon
