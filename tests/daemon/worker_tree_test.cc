// The end of a task is the end of all its processes; and the ways in which that is not so.
#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

// Runs lines whose processes can be found again by a word in their environment.
class WorkerTree : public testing::Test {
 protected:
  ~WorkerTree() override {
    // More than once: one may be forking just now.
    for (int pass = 0; pass < 5; ++pass) {
      for (const pid_t pid : processesWith(mark_)) ::kill(pid, SIGKILL);
    }
  }
  TaskSpec marked(std::vector<std::string> argv) const {
    TaskSpec spec;
    spec.argv = std::move(argv);
    spec.context = ipc::captureSurroundings();
    ipc::setEnvironment(*spec.context, "BATON_TEST_MARK", mark_);
    return spec;
  }
  TaskSpec markedShell(const std::string& line) const { return marked({"/bin/sh", "-c", line}); }
  TaskSpec markedPython(const std::string& program) const {
    return marked({"/usr/bin/python3", "-c", program});
  }
  std::vector<pid_t> left() const { return processesWith(mark_); }
  void expectNothingLeft(const WorkerProcess& worker) const {
    EXPECT_TRUE(left().empty());
    const auto task = "/proc/" + std::to_string(worker.pid()) + "/task/" + std::to_string(worker.pid());
    EXPECT_EQ(readText(task + "/children"), "");  // no zombies either
  }

  const std::string mark_ =
      "mark-" + std::to_string(::getpid()) + "-" + std::to_string(std::random_device{}());
};

// LEVELS of double forks, each in a session of its own; prints "ready" when all are there.
constexpr const char* kDoubleForkers = R"(
import os, signal, sys, time
count = int(sys.argv[1])
readable, writable = os.pipe()
for i in range(count):
  if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
      signal.signal(signal.SIGTERM, signal.SIG_IGN)
      os.close(1); os.close(2)
      os.write(writable, b'x')
      time.sleep(1000)
    os._exit(0)
  os.wait()
seen = 0
while seen < count: seen += len(os.read(readable, 4096))
print('ready', flush=True)
if len(sys.argv) > 2: time.sleep(1000)
)";

TEST_F(WorkerTree, backgroundChildrenEndWithTheTask) {
  WorkerProcess worker;
  const auto ended = worker.run(markedShell("sleep 1000 & sleep 1000 & echo $$; exit 3"));
  EXPECT_EQ(ended.exitCode, 3);
  EXPECT_TRUE(ended.escaped.empty());
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, fiveHundredChildren) {
  WorkerProcess worker;
  worker.run(markedShell("n=0; while [ $n -lt 500 ]; do sleep 1000 & n=$((n+1)); done"));
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, aThousandDoubleForkedSessions) {
  WorkerProcess worker;
  auto spec = markedPython(kDoubleForkers);
  spec.argv.push_back("1000");
  EXPECT_EQ(worker.run(std::move(spec)).exitCode, 0);
  EXPECT_EQ(worker.out, "ready\n");
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, cancelEndsThemTooThoughTheyIgnoreTerm) {
  WorkerProcess worker;
  auto spec = markedPython(kDoubleForkers);
  spec.argv.insert(spec.argv.end(), {"100", "stay"});
  worker.assign(std::move(spec));
  worker.waitForOutput("ready");
  EXPECT_EQ(left().size(), 101U);
  worker.cancel(100'000'000);
  EXPECT_EQ(worker.waitForEnd().cause, Cause::CANCELLED);
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, theEndOfTheDaemonEndsTheTreeAndTheWorker) {
  WorkerProcess worker;
  auto spec = markedPython(kDoubleForkers);
  spec.argv.insert(spec.argv.end(), {"100", "stay"});
  worker.assign(std::move(spec));
  worker.waitForOutput("ready");
  worker.disconnect();
  EXPECT_EQ(worker.waitForExit(), 0);
  EXPECT_TRUE(left().empty());
}

TEST_F(WorkerTree, orphansAreReapedWhileTheTaskRuns) {
  WorkerProcess worker;
  worker.assign(markedShell("(sleep 0.01 &) ; (sleep 0.01 &); echo ready; exec sleep 1000"));
  worker.waitForOutput("ready");
  EXPECT_TRUE(eventually([&] { return left().size() == 1; }));
  const auto children =
      "/proc/" + std::to_string(worker.pid()) + "/task/" + std::to_string(worker.pid()) + "/children";
  EXPECT_TRUE(eventually([&] { return readText(children) == std::to_string(worker.waitForStart()) + " "; }));
  worker.cancel(0);
  worker.waitForEnd();
}

TEST_F(WorkerTree, aChainThatRunsAwayFromItsKillerIsCaught) {
  WorkerProcess worker;
  const auto ended = worker.run(markedPython(R"(
import os
if os.fork() == 0:
  os.setsid()
  while os.fork() == 0: pass
  os._exit(0)
)"));
  EXPECT_EQ(ended.cause, Cause::EXITED);
  EXPECT_TRUE(ended.escaped.empty());
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, aDeepTreeEnds) {
  WorkerProcess worker;
  worker.assign(markedPython(R"(
import os, time
for i in range(60):
  if os.fork() != 0:
    time.sleep(1000)
print('ready', flush=True)
time.sleep(1000)
)"));
  worker.waitForOutput("ready");
  worker.cancel(0);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
  expectNothingLeft(worker);
}

TaskSpec detached(TaskSpec spec) {
  spec.edit = [](auto assign) { assign.getOptions().setDetachChildren(true); };
  return spec;
}

TEST_F(WorkerTree, detachedChildrenStayUnderTheirHolder) {
  WorkerProcess worker;
  const auto ended = worker.run(detached(markedShell("(setsid sleep 1000 &); sleep 1000 & exit 7")));
  EXPECT_EQ(ended.cause, Cause::EXITED);
  EXPECT_EQ(ended.exitCode, 7);
  ASSERT_GT(ended.holder, 0);
  EXPECT_EQ(readText("/proc/" + std::to_string(ended.holder) + "/comm"), "baton-holder\n");
  // Both, and not a shell between them.
  EXPECT_TRUE(eventually([&] {
    const auto pids = left();
    return pids.size() == 2 && std::all_of(pids.begin(), pids.end(), [](pid_t pid) {
             return readText("/proc/" + std::to_string(pid) + "/comm") == "sleep\n";
           });
  }));

  // Later tasks and the end of the worker leave them alone.
  EXPECT_EQ(worker.run(markedShell("sleep 1000 & exit 1")).exitCode, 1);
  EXPECT_EQ(left().size(), 2U);
  worker.disconnect();
  EXPECT_EQ(worker.waitForExit(), 0);
  EXPECT_EQ(left().size(), 2U);
  for (const pid_t pid : left()) ::kill(pid, SIGKILL);
  EXPECT_TRUE(eventually([&] {
    ::waitpid(ended.holder, nullptr, WNOHANG);
    return !alive(ended.holder);
  }));
}

TEST_F(WorkerTree, theHolderKeepsNoDescriptorOfTheWorker) {
  WorkerProcess worker;
  const auto ended = worker.run(detached(markedShell("sleep 1000 >/dev/null 2>&1 & exit 0")));
  ASSERT_GT(ended.holder, 0);
  const auto descriptors = "/proc/" + std::to_string(ended.holder) + "/fd";
  EXPECT_TRUE(eventually([&] {
    for (const auto& entry : std::filesystem::directory_iterator(descriptors)) {
      if (std::stoi(entry.path().filename()) > 2 &&
          std::filesystem::read_symlink(entry.path()).string().find("signalfd") == std::string::npos) {
        return false;
      }
    }
    return true;
  }));
}

TEST_F(WorkerTree, withoutChildrenNoHolderStays) {
  WorkerProcess worker;
  const auto ended = worker.run(detached(markedShell("exit 2")));
  EXPECT_EQ(ended.exitCode, 2);
  EXPECT_EQ(ended.holder, 0);
  EXPECT_EQ(worker.run(markedShell("sleep 1000 &")).exitCode, 0);
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, cancelOfADetachedTaskEndsItsTree) {
  WorkerProcess worker;
  worker.assign(detached(markedShell("(setsid sleep 1000 &); echo ready; sleep 1000")));
  worker.waitForOutput("ready");
  worker.cancel(0);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::CANCELLED);
  EXPECT_EQ(ended.holder, 0);
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, theEndOfTheDaemonEndsADetachedTasksCommandOnly) {
  WorkerProcess worker;
  worker.assign(detached(markedShell("(setsid sleep 1000 &); echo ready; exec sleep 2000")));
  worker.waitForOutput("ready");
  const pid_t command = worker.waitForStart();
  worker.disconnect();
  EXPECT_EQ(worker.waitForExit(), 0);
  EXPECT_TRUE(eventually([&] { return !alive(command) && left().size() == 1; }));
}

TEST_F(WorkerTree, aKilledHolderIsATaskThatEnds) {
  WorkerProcess worker;
  worker.assign(detached(markedShell("echo ready; exec sleep 1000")));
  worker.waitForOutput("ready");
  const auto stat = readText("/proc/" + std::to_string(worker.waitForStart()) + "/stat");
  const pid_t holder = std::stoi(stat.substr(stat.rfind(')') + 4));
  ASSERT_NE(holder, worker.pid());
  ::kill(holder, SIGKILL);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
  expectNothingLeft(worker);
}

TEST_F(WorkerTree, aKilledWorkerLeavesItsTreeToTheNextSubreaper) {
  WorkerProcess worker;
  worker.assign(markedShell("(setsid sleep 1000 &); echo ready; exec sleep 1000"));
  worker.waitForOutput("ready");
  ::kill(worker.pid(), SIGKILL);
  EXPECT_EQ(worker.waitForExit(), SIGKILL);
  // All of it is this process's now, as it would be the guard's.
  for (const pid_t pid : left()) {
    const auto stat = readText("/proc/" + std::to_string(pid) + "/stat");
    EXPECT_EQ(std::stoi(stat.substr(stat.rfind(')') + 4)), ::getpid());
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
}

}  // namespace
}  // namespace baton::worker::test
