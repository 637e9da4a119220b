// The pure parts of the worker: the ladder of time limit, TERM, grace and KILL, and where OOM kills are
// counted.
#include <gtest/gtest.h>

#include "daemon/worker/end_ladder.h"
#include "daemon/worker/memory_events.h"

namespace baton::worker {
namespace {

using ipc::wire::Cause;
using Rung = EndLadder::Rung;

constexpr std::uint64_t kSecond = 1'000'000'000;

Time at(std::int64_t seconds) {
  return Time{} + std::chrono::seconds(1000 + seconds);
}

TEST(EndLadder, withoutLimitNothingIsEverDue) {
  EndLadder ladder(0, kSecond);
  ladder.started(at(0));
  EXPECT_EQ(ladder.deadline(), kNever);
  EXPECT_EQ(ladder.timePassed(at(1'000'000)), Rung::none);
  EXPECT_EQ(ladder.cause(), Cause::NONE);
}

TEST(EndLadder, limitThenTermThenGraceThenKillOnce) {
  EndLadder ladder(10 * kSecond, 3 * kSecond);
  ladder.started(at(0));
  EXPECT_EQ(ladder.deadline(), at(10));
  EXPECT_EQ(ladder.timePassed(at(9)), Rung::none);
  EXPECT_EQ(ladder.timePassed(at(10)), Rung::terminate);
  EXPECT_EQ(ladder.cause(), Cause::TIME_LIMIT);
  EXPECT_EQ(ladder.deadline(), at(13));
  EXPECT_EQ(ladder.timePassed(at(12)), Rung::none);
  EXPECT_EQ(ladder.timePassed(at(13)), Rung::kill);
  EXPECT_EQ(ladder.timePassed(at(20)), Rung::none);
  EXPECT_EQ(ladder.deadline(), kNever);
}

TEST(EndLadder, theFirstReasonStandsAndALaterCancelOnlyShortensTheGrace) {
  EndLadder ladder(10 * kSecond, 30 * kSecond);
  ladder.started(at(0));
  EXPECT_EQ(ladder.timePassed(at(10)), Rung::terminate);
  EXPECT_EQ(ladder.cancel(at(11), 100 * kSecond, Cause::CANCELLED), Rung::none);
  EXPECT_EQ(ladder.deadline(), at(40));
  EXPECT_EQ(ladder.cancel(at(12), kSecond, Cause::CANCELLED), Rung::none);
  EXPECT_EQ(ladder.deadline(), at(13));
  EXPECT_EQ(ladder.cancel(at(12), 0, Cause::CANCELLED), Rung::kill);
  EXPECT_EQ(ladder.cancel(at(12), 0, Cause::CANCELLED), Rung::none);
  EXPECT_EQ(ladder.cause(), Cause::TIME_LIMIT);
}

TEST(EndLadder, graceOfZeroKillsAtOnce) {
  EndLadder ladder(0, kSecond);
  EXPECT_EQ(ladder.cancel(at(0), 0, Cause::CLIENT_GONE), Rung::kill);
  EXPECT_EQ(ladder.cause(), Cause::CLIENT_GONE);
}

TEST(EndLadder, limitStandsStillWhileStopped) {
  EndLadder ladder(10 * kSecond, kSecond);
  ladder.started(at(0));
  ladder.stopped(at(4));
  ladder.stopped(at(5));  // told twice
  EXPECT_EQ(ladder.deadline(), kNever);
  EXPECT_EQ(ladder.timePassed(at(100)), Rung::none);
  ladder.continued(at(100));
  ladder.continued(at(101));
  EXPECT_EQ(ladder.deadline(), at(106));
  EXPECT_EQ(ladder.timePassed(at(106)), Rung::terminate);
}

TEST(EndLadder, endlessDurationsAreNever) {
  EndLadder ladder(~0ULL, ~0ULL);
  ladder.started(at(0));
  EXPECT_EQ(ladder.deadline(), kNever);
  EXPECT_EQ(ladder.cancel(at(0), ~0ULL, Cause::CANCELLED), Rung::terminate);
  EXPECT_EQ(ladder.deadline(), kNever);
}

constexpr const char* kMixedCgroups = "4:memory:/user/1\n3:cpu,cpuacct:/\n0::/init\n";
constexpr const char* kMixedMounts =
    "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
    "31 30 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

TEST(OomFilePath, v1WhereMemoryIsMountedAsV1) {
  EXPECT_EQ(oomFilePath(kMixedCgroups, kMixedMounts), "/sys/fs/cgroup/memory/user/1/memory.oom_control");
}

TEST(OomFilePath, v2OtherwiseAlsoFromInsideAContainer) {
  EXPECT_EQ(oomFilePath("0::/a/b\n", "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            "/sys/fs/cgroup/a/b/memory.events");
  EXPECT_EQ(oomFilePath("0::/a/b\n", "31 30 0:27 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            "/sys/fs/cgroup/b/memory.events");
}

TEST(OomFilePath, nowhereIsEmpty) {
  EXPECT_EQ(oomFilePath("", ""), "");
  EXPECT_EQ(oomFilePath("garbage\n:::\n", "x\n - \n"), "");
  EXPECT_EQ(oomFilePath("4:memory:/\n", "1 2 3 / /x rw - tmpfs tmpfs rw\n"), "");
}

}  // namespace
}  // namespace baton::worker
