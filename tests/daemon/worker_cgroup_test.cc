// Tasks in cgroups, where this machine lets us make them.
#include <gmock/gmock.h>

#include "ipc/parcel.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

// Where a hierarchy is mounted: cgroup2, or the v1 one with `controller`.
std::string mountPoint(const std::string& type, const std::string& controller) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device;
    std::string point;
    std::string kind;
    std::string options;
    words >> device >> point >> kind >> options;
    if (kind == type &&
        (controller.empty() || ("," + options + ",").find("," + controller + ",") != std::string::npos)) {
      return point;
    }
  }
  return {};
}

class CgroupDirectory {
 public:
  explicit CgroupDirectory(const std::string& parent)
      : path_(parent + "/baton-test-" + std::to_string(::getpid())) {
    std::error_code error;
    made_ = !parent.empty() && std::filesystem::create_directory(path_, error);
  }
  ~CgroupDirectory() {
    if (!made_) return;
    EXPECT_TRUE(eventually([&] { return ::rmdir(path_.c_str()) == 0; }));
  }
  CgroupDirectory(const CgroupDirectory&) = delete;
  CgroupDirectory& operator=(const CgroupDirectory&) = delete;
  explicit operator bool() const { return made_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool made_ = false;
};

constexpr const char* kNoCgroup = "no cgroup can be made here";

TaskSpec inside(const CgroupDirectory& cgroup, const std::string& line) {
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.edit = [path = cgroup.path()](auto assign) {
    assign.setCgroup({reinterpret_cast<const capnp::byte*>(path.data()), path.size()});
  };
  return spec;
}

TEST(WorkerCgroup, theCommandIsBornInItAndItsTreeEndsWithIt) {
  const CgroupDirectory cgroup(mountPoint("cgroup2", ""));
  if (!cgroup) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  const auto name = std::filesystem::path(cgroup.path()).filename().string();
  const auto ended =
      worker.run(inside(cgroup, "grep ^0:: /proc/self/cgroup; (setsid sleep 1000 &); sleep 1000 & exit 4"));
  EXPECT_EQ(ended.exitCode, 4);
  EXPECT_EQ(worker.out, "0::/" + name + "\n");
  EXPECT_EQ(readText(cgroup.path() + "/cgroup.procs"), "");
  EXPECT_EQ(worker.run(inside(cgroup, "exit 5")).exitCode, 5);
  EXPECT_EQ(worker.run(inside(cgroup, "kill -9 $$")).cause, Cause::SIGNALLED);
}

TEST(WorkerCgroup, whatCannotBeStartedThereIsSaidAsEver) {
  const CgroupDirectory cgroup(mountPoint("cgroup2", ""));
  if (!cgroup) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  auto spec = inside(cgroup, "");
  spec.argv = {"no-such-program"};
  EXPECT_EQ(worker.run(std::move(spec)).exitCode, 127);
}

TEST(WorkerCgroup, oneThatIsNotThereIsNamed) {
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"true"};
  spec.edit = [](auto assign) { assign.setCgroup({reinterpret_cast<const capnp::byte*>("/no/such"), 8}); };
  const auto ended = worker.run(std::move(spec));
  EXPECT_EQ(ended.cause, Cause::SURROUNDINGS);
  EXPECT_THAT(ended.detail, testing::HasSubstr("cgroup"));
}

TEST(WorkerCgroup, cancelKillsAllInIt) {
  const CgroupDirectory cgroup(mountPoint("cgroup2", ""));
  if (!cgroup) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  worker.assign(inside(cgroup,
                       "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 1000; done' &); echo "
                       "ready; sleep 1000; sleep 1000"));
  worker.waitForOutput("ready");
  EXPECT_TRUE(worker.sample());
  worker.cancel(100'000'000);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
  EXPECT_EQ(readText(cgroup.path() + "/cgroup.procs"), "");
}

TEST(WorkerCgroup, aTaskOnATerminalIsInItToo) {
  const CgroupDirectory cgroup(mountPoint("cgroup2", ""));
  if (!cgroup) GTEST_SKIP() << kNoCgroup;
  WorkerProcess worker;
  auto [mine, theirs] = ipc::makeParcel();
  auto spec = inside(cgroup, "grep ^0:: /proc/self/cgroup >&2; sleep 1000 & exit 6");
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
  EXPECT_EQ(readText(directory.file("out")),
            "0::/" + std::filesystem::path(cgroup.path()).filename().string() + "\n");
  EXPECT_EQ(readText(cgroup.path() + "/cgroup.procs"), "");
}

TEST(WorkerOom, aCommandKilledForWantOfMemoryIsToldApart) {
  const CgroupDirectory cgroup(mountPoint("cgroup", "memory"));
  if (!cgroup) GTEST_SKIP() << kNoCgroup;
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
