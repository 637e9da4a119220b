// Tasks in cgroups, where this machine lets us make them.
#include <gmock/gmock.h>

#include "ipc/parcel.h"
#include "tests/daemon/cgroup_fixture.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using baton::test::CgroupDirectory;
using baton::test::cgroupMountPoint;
using baton::test::inodeOf;
using baton::test::kNoCgroup;

// What the daemon calls the worker's cgroup; the worker makes it.
std::string cgroupIn(const CgroupDirectory& lane) {
  return lane.path() + "/w1";
}

TaskSpec inside(const std::string& cgroup, const std::string& line) {
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.edit = [path = cgroup](auto assign) {
    assign.setCgroup({reinterpret_cast<const capnp::byte*>(path.data()), path.size()});
  };
  return spec;
}
TaskSpec inside(const CgroupDirectory& lane, const std::string& line) {
  return inside(cgroupIn(lane), line);
}

// As /proc/self/cgroup shows it.
std::string shown(const CgroupDirectory& lane) {
  const auto mount = cgroupMountPoint("cgroup2");
  return "0::" + cgroupIn(lane).substr(mount.size()) + "\n";
}

TEST(WorkerCgroup, theCommandIsBornInItAndItsTreeEndsWithIt) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  const auto ended =
      worker.run(inside(lane, "grep ^0:: /proc/self/cgroup; (setsid sleep 1000 &); sleep 1000 & exit 4"));
  EXPECT_EQ(ended.exitCode, 4);
  EXPECT_EQ(worker.out, shown(lane));
  EXPECT_EQ(readText(cgroupIn(lane) + "/cgroup.procs"), "");
  EXPECT_EQ(worker.run(inside(lane, "exit 5")).exitCode, 5);
  EXPECT_EQ(worker.run(inside(lane, "kill -9 $$")).cause, Cause::SIGNALLED);
}

TEST(WorkerCgroup, whatCannotBeStartedThereIsSaidAsEver) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  auto spec = inside(lane, "");
  spec.argv = {"no-such-program"};
  EXPECT_EQ(worker.run(std::move(spec)).exitCode, 127);
}

TEST(WorkerCgroup, whereItCannotBeMadeTheTaskRunsWithout) {
  WorkerProcess worker;
  const auto ended = worker.run(inside("/no/such", "(setsid sleep 1000 &); echo on; exit 3"));
  EXPECT_EQ(ended.exitCode, 3);
  EXPECT_EQ(worker.out, "on\n");
  // A directory that is none of cgroups at all.
  const TemporaryDirectory directory;
  EXPECT_EQ(worker.run(inside(directory.file("w1"), "exit 4")).exitCode, 4);
}

TEST(WorkerCgroup, itIsKeptFromTaskToTaskUntilItWasKilled) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  worker.run(inside(lane, "exit 1"));
  const auto first = inodeOf(cgroupIn(lane));
  EXPECT_NE(first, 0U);
  worker.run(inside(lane, "exit 2"));
  EXPECT_EQ(inodeOf(cgroupIn(lane)), first);
  worker.run(inside(lane, "sleep 1000 & exit 3"));
  // One killed once would kill what is born in it, on some kernels.
  EXPECT_TRUE(eventually([&] { return inodeOf(cgroupIn(lane)) != first; }));
  EXPECT_EQ(worker.run(inside(lane, "grep ^0:: /proc/self/cgroup; exit 4")).exitCode, 4);
  EXPECT_EQ(worker.out, shown(lane));
}

TEST(WorkerCgroup, cgroupsThatATaskMakesInItAreRemoved) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  const auto own = cgroupIn(lane);
  worker.run(inside(lane, "mkdir -p " + own + "/a/b " + own + "/c; setsid sleep 1000 & echo $! > " + own +
                              "/a/b/cgroup.procs; cat " + own + "/a/b/cgroup.procs"));
  EXPECT_NE(worker.out, "");
  EXPECT_FALSE(alive(std::atoi(worker.out.c_str())));
  EXPECT_EQ(worker.run(inside(lane, "ls -d " + own + "/*/ || exit 7")).exitCode, 7) << worker.out;
}

TEST(WorkerCgroup, whatATaskMovesOutOfItEndsAllTheSame) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  const auto elsewhere = lane.path() + "/elsewhere";
  std::filesystem::create_directory(elsewhere);
  WorkerProcess worker;
  worker.run(inside(lane, "setsid sleep 1000 & echo $! > " + elsewhere + "/cgroup.procs; cat " + elsewhere +
                              "/cgroup.procs"));
  const pid_t pid = std::atoi(worker.out.c_str());
  EXPECT_GT(pid, 0);
  EXPECT_FALSE(alive(pid));
  EXPECT_EQ(::rmdir(elsewhere.c_str()), 0);
}

TEST(WorkerCgroup, cancelKillsAllInIt) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  worker.assign(inside(lane,
                       "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &); echo "
                       "ready; sleep 1000; sleep 1000"));
  worker.waitForOutput("ready");
  EXPECT_TRUE(worker.sample());
  worker.cancel(100'000'000);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
  EXPECT_EQ(readText(cgroupIn(lane) + "/cgroup.procs"), "");
}

TEST(WorkerCgroup, whenTheDaemonIsGoneItEndsAndIsRemoved) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  worker.assign(inside(lane, "trap '' TERM; (setsid sleep 1000 &); echo ready; sleep 1000; sleep 1000"));
  worker.waitForOutput("ready");
  worker.disconnect();
  worker.waitForExit();
  EXPECT_EQ(inodeOf(cgroupIn(lane)), 0U);
}

TEST(WorkerCgroup, whatAKilledWorkerLeavesInItTheDaemonCanEnd) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  worker.assign(inside(
      lane,
      "for i in 1 2 3 4 5; do setsid sh -c 'sleep 1000 & sleep 1000 & exit' ; done; echo ready; sleep 1000"));
  worker.waitForOutput("ready");
  ::kill(worker.pid(), SIGKILL);
  worker.waitForExit();
  EXPECT_NE(readText(cgroupIn(lane) + "/cgroup.procs"), "");
  EXPECT_TRUE(ipc::endCgroup(cgroupIn(lane), kPatience));
  EXPECT_EQ(inodeOf(cgroupIn(lane)), 0U);
}

TEST(WorkerCgroup, aTaskOnATerminalIsInItToo) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  auto [mine, theirs] = ipc::makeParcel();
  auto spec = inside(lane, "grep ^0:: /proc/self/cgroup >&2; sleep 1000 & exit 6");
  spec.output = OutputMode::PARCEL;
  spec.parcel = std::move(theirs);
  TemporaryDirectory directory;
  const shm::Fd out(::open(directory.file("out").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ipc::sendStandardFds(mine.get(), {-1, -1, out.get()}, 3);
  worker.assign(std::move(spec));
  std::optional<shm::Fd> master;
  ASSERT_TRUE(eventually([&] { return master || (master = ipc::tryReceiveTerminalMaster(mine.get())); }));
  ipc::sendGo(mine.get());
  EXPECT_EQ(worker.waitForEnd().exitCode, 6);
  EXPECT_EQ(readText(directory.file("out")), shown(lane));
  EXPECT_EQ(readText(cgroupIn(lane) + "/cgroup.procs"), "");
}

// Uses so much memory for a moment, in a child of a child.
std::string use(int megabytes) {
  return "python3 -c 'import os\nif os.fork() == 0: x = b\"1\" * (" + std::to_string(megabytes) +
         " << 20); os._exit(0)\nos.wait()'";
}

TEST(WorkerCgroup, peakMemoryIsThatOfTheTaskAlone) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  if (!lane.enable("memory")) GTEST_SKIP() << "needs the memory controller in cgroup v2";
  WorkerProcess worker;
  const auto large = worker.run(inside(lane, use(200) + " & " + use(200) + "; wait"));
  if (!std::filesystem::exists(cgroupIn(lane) + "/memory.peak")) GTEST_SKIP() << "needs memory.peak";
  EXPECT_FALSE(large.peakIsUpperBound);
  EXPECT_GT(large.peakBytes, 210ULL << 20) << "both of them, not the larger alone";
  EXPECT_LT(large.peakBytes, 600ULL << 20);
  const auto small = worker.run(inside(lane, "exit 0"));
  EXPECT_FALSE(small.peakIsUpperBound);
  EXPECT_LT(small.peakBytes, 100ULL << 20);
}

TEST(WorkerCgroup, tasksThatUseLittleShareOne) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  if (!lane.enable("memory")) GTEST_SKIP() << "needs the memory controller in cgroup v2";
  WorkerProcess worker;
  worker.run(inside(lane, "exit 0"));
  const auto first = inodeOf(cgroupIn(lane));
  const auto again = worker.run(inside(lane, "exit 0"));
  EXPECT_EQ(inodeOf(cgroupIn(lane)), first);
  EXPECT_GT(again.peakBytes, 0U);
  EXPECT_LE(again.peakBytes, 4ULL << 20);
  if (!std::filesystem::exists(cgroupIn(lane) + "/memory.peak")) GTEST_SKIP() << "needs memory.peak";
  const auto large = worker.run(inside(lane, use(200)));
  EXPECT_FALSE(large.peakIsUpperBound) << "what the small ones used is nothing beside it";
  EXPECT_TRUE(eventually([&] { return inodeOf(cgroupIn(lane)) != first; }));
}

// A cgroup whose memory is in use by a file's cache goes on in the kernel when it is removed.
TEST(WorkerCgroup, manyThatLeaveCacheBehindDoNotPileUp) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  if (!lane.enable("memory")) GTEST_SKIP() << "needs the memory controller in cgroup v2";
  const TemporaryDirectory directory;
  WorkerProcess worker;
  bool bound = false;
  for (int i = 0; i < 130; ++i) {
    const auto ended =
        worker.run(inside(lane, "head -c 5000000 /dev/zero > " + directory.file(std::to_string(i))));
    EXPECT_EQ(ended.exitCode, 0);
    bound = bound || ended.peakIsUpperBound;
  }
  EXPECT_TRUE(bound) << "once they are kept, a peak is a bound";
  const auto stat = readText(lane.path() + "/cgroup.stat");
  const std::string key = "nr_dying_descendants ";
  const auto at = stat.find(key);
  ASSERT_NE(at, std::string::npos);
  EXPECT_LE(std::atoi(stat.c_str() + at + key.size()), 100);
}

TEST(WorkerOom, inItsCgroupItIsToldApart) {
  const CgroupDirectory lane(cgroupMountPoint("cgroup2"));
  if (!lane) GTEST_SKIP() << kNoCgroup;
  if (!lane.enable("memory")) GTEST_SKIP() << "needs the memory controller in cgroup v2";
  std::ofstream(lane.path() + "/memory.max") << (96 << 20);
  std::ofstream(lane.path() + "/memory.swap.max") << 0;
  WorkerProcess worker;
  const auto hungry = worker.run(inside(lane, "exec python3 -c 'x = b\"1\" * (300 << 20)'"));
  EXPECT_EQ(hungry.cause, Cause::OOM);
  EXPECT_EQ(hungry.signal, SIGKILL);
  EXPECT_EQ(worker.run(inside(lane, "kill -9 $$")).cause, Cause::SIGNALLED);
  EXPECT_EQ(worker.run(inside(lane, "python3 -c 'x = b\"1\" * (300 << 20)'; exit 3")).exitCode, 3);
  EXPECT_EQ(worker.run(inside(lane, "kill -9 $$")).cause, Cause::SIGNALLED);
}

TEST(WorkerOom, aCommandKilledForWantOfMemoryIsToldApart) {
  const CgroupDirectory cgroup(cgroupMountPoint("cgroup", "memory"));
  if (!cgroup) GTEST_SKIP() << "needs the right to make cgroups (v1) with the memory controller";
  std::ofstream(cgroup.path() + "/memory.limit_in_bytes") << (96 << 20);
  WorkerProcess::Options options;
  options.before = [&] { std::ofstream(cgroup.path() + "/cgroup.procs") << ::getpid(); };
  WorkerProcess worker(std::move(options));
  const auto hungry = worker.run(
      {"/usr/bin/python3", "-c", "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1"});
  EXPECT_EQ(hungry.cause, Cause::OOM);
  EXPECT_EQ(hungry.signal, SIGKILL);
  EXPECT_EQ(worker.shell("kill -9 $$").cause, Cause::SIGNALLED);
  // A child's death by it is the child's; what comes then is not held to be another one.
  EXPECT_EQ(worker.shell("python3 -c 'x = b\"1\" * (300 << 20)'; exit 3").exitCode, 3);
  EXPECT_EQ(worker.shell("kill -9 $$").cause, Cause::SIGNALLED);
}

}  // namespace
}  // namespace baton::worker::test
