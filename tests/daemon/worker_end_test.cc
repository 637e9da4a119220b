// Ending, stopping and signalling a running task.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

// Waits for real time to pass, which is what a limit is about, and reads the worker's frames meanwhile.
void letPass(WorkerProcess& worker, std::chrono::milliseconds duration) {
  const auto end = std::chrono::steady_clock::now() + duration;
  while (std::chrono::steady_clock::now() < end) worker.sample();
}

TaskSpec limited(const std::string& line, std::uint64_t limitNs, std::uint64_t graceNs) {
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.edit = [=](auto assign) {
    assign.getOptions().setTimeLimitNs(limitNs);
    assign.getOptions().setGraceNs(graceNs);
  };
  return spec;
}

TEST(WorkerCancel, aTaskThatLeavesOnTermIsCancelledWithItsOwnCode) {
  WorkerProcess worker;
  worker.assignShell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done");
  worker.waitForOutput("ready");
  worker.cancel(60 * kSecond, Cause::CLIENT_GONE);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::CLIENT_GONE);
  EXPECT_EQ(ended.exitCode, 0);
}

TEST(WorkerCancel, aTreeThatIgnoresTermIsKilledAfterTheGrace) {
  WorkerProcess worker;
  worker.assignShell(
      "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' &); echo ready; sleep 1000; "
      "sleep 1000");
  worker.waitForOutput("ready");
  const auto begin = std::chrono::steady_clock::now();
  worker.cancel(kSecond / 5);
  const auto ended = worker.waitForEnd();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
  EXPECT_EQ(ended.cause, Cause::CANCELLED);
  EXPECT_EQ(ended.signal, SIGKILL);
}

TEST(WorkerCancel, withoutGraceItIsKilledAtOnce) {
  WorkerProcess worker;
  worker.assignShell("trap '' TERM; echo ready; sleep 1000; sleep 1000");
  worker.waitForOutput("ready");
  worker.cancel(0);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
}

TEST(WorkerCancel, aSecondCancelShortensTheGrace) {
  WorkerProcess worker;
  worker.assignShell("trap '' TERM; echo ready; sleep 1000; sleep 1000");
  worker.waitForOutput("ready");
  worker.cancel(1000 * kSecond);
  worker.cancel(0);
  EXPECT_EQ(worker.waitForEnd().signal, SIGKILL);
}

TEST(WorkerCancel, everyProcessGetsTermOnce) {
  TemporaryDirectory directory;
  WorkerProcess worker;
  // Two levels, the deeper in a session of its own; each counts its TERMs until it is told to end.
  const std::string program = R"(
import os, signal, sys, time
name = sys.argv[1]
def term(*_): open(name, 'a').write('T')
signal.signal(signal.SIGTERM, term)
if len(sys.argv) > 2:
  if os.fork() == 0:
    os.setsid()
    os.execv(sys.executable, [sys.executable, '-c', sys.argv[3], sys.argv[2]])
else:
  print('ready', flush=True)
while not os.path.exists(os.path.dirname(name) + '/end'): time.sleep(0.01)
)";
  TaskSpec spec;
  spec.argv = {"/usr/bin/python3", "-c", program, directory.file("top"), directory.file("deep"), program};
  worker.assign(std::move(spec));
  worker.waitForOutput("ready");
  worker.cancel(600 * kSecond);
  EXPECT_TRUE(eventually(
      [&] { return !readText(directory.file("top")).empty() && !readText(directory.file("deep")).empty(); }));
  letPass(worker, 50ms);
  EXPECT_EQ(readText(directory.file("top")), "T");
  EXPECT_EQ(readText(directory.file("deep")), "T");
  std::ofstream(directory.file("end")) << "";
  EXPECT_EQ(worker.waitForEnd().cause, Cause::CANCELLED);
}

TEST(WorkerCancel, aStoppedTaskNoticesToo) {
  WorkerProcess worker;
  worker.assignShell("trap 'exit 11' TERM; echo ready; while :; do sleep 0.01; done");
  worker.waitForOutput("ready");
  worker.signal(SIGSTOP, true);
  EXPECT_EQ(worker.waitForStop(), SIGSTOP);
  worker.cancel(600 * kSecond);
  EXPECT_EQ(worker.waitForEnd().exitCode, 11);
}

TEST(WorkerCancel, comingTooLateItChangesNothing) {
  WorkerProcess worker;
  worker.assignShell("exit 5");
  const pid_t task = worker.waitForStart();
  EXPECT_TRUE(eventually([&] { return !alive(task); }));
  worker.cancel(0);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::EXITED);
  EXPECT_EQ(ended.exitCode, 5);
}

TEST(WorkerLimit, aTaskThatRunsTooLongIsTimedOut) {
  WorkerProcess worker;
  const auto begin = std::chrono::steady_clock::now();
  const auto ended = worker.run(limited("exec sleep 1000", kSecond / 5, 60 * kSecond));
  EXPECT_EQ(ended.cause, Cause::TIME_LIMIT);
  EXPECT_EQ(ended.signal, SIGTERM);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 200ms);
  EXPECT_EQ(worker.run(limited("exit 3", 60 * kSecond, kSecond)).exitCode, 3);
}

TEST(WorkerLimit, graceFollowsTheLimit) {
  WorkerProcess worker;
  const auto ended =
      worker.run(limited("trap '' TERM; while :; do sleep 1000; done", kSecond / 10, kSecond / 10));
  EXPECT_EQ(ended.cause, Cause::TIME_LIMIT);
  EXPECT_EQ(ended.signal, SIGKILL);
}

TEST(WorkerStop, theLimitStandsStillWhileStopped) {
  WorkerProcess worker;
  worker.assign(limited("echo ready; exec sleep 1000", kSecond / 2, 60 * kSecond));
  const pid_t task = worker.waitForStart();
  worker.signal(SIGSTOP, true);
  EXPECT_EQ(worker.waitForStop(), SIGSTOP);
  letPass(worker, 800ms);
  EXPECT_EQ(stateOf(task), 'T');
  worker.resume(false);
  const auto resumed = std::chrono::steady_clock::now();
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::TIME_LIMIT);
  EXPECT_LT(std::chrono::steady_clock::now() - resumed, 500ms + 500ms);
}

TEST(WorkerStop, stopAndContinueMoreThanOnce) {
  WorkerProcess worker;
  worker.assignShell("trap 'echo usr1' USR1; echo ready; while :; do sleep 0.01; done");
  worker.waitForOutput("ready");
  for (int round = 0; round < 5; ++round) {
    worker.signal(SIGSTOP, true);
    EXPECT_EQ(worker.waitForStop(), SIGSTOP);
    worker.resume(false);
    EXPECT_TRUE(eventually([&] { return stateOf(*worker.started) != 'T'; }));
  }
  worker.signal(SIGUSR1, true);
  worker.waitForOutput("usr1");
  worker.cancel(0);
  worker.waitForEnd();
}

TEST(WorkerSignal, toTheMainProcessOrToAll) {
  WorkerProcess worker;
  const std::string line =
      "trap 'echo main' USR1; sh -c 'trap \"echo child\" USR1; echo ready; while :; do sleep 0.01; done' & "
      "while :; do sleep 0.01; done";
  worker.assignShell(line);
  worker.waitForOutput("ready");
  worker.signal(SIGUSR1, true);
  worker.waitForOutput("main");
  worker.signal(SIGTERM, true);
  EXPECT_EQ(worker.waitForEnd().signal, SIGTERM);
  EXPECT_EQ(worker.out.find("child"), std::string::npos);

  // `sleep` dies of USR1, the shells do not.
  worker.assignShell(line);
  worker.waitForOutput("ready");
  worker.signal(SIGUSR1, false);
  worker.waitForOutput("main");
  worker.waitForOutput("child");
  worker.signal(SIGKILL, true);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::SIGNALLED);
  EXPECT_EQ(ended.signal, SIGKILL);
}

TEST(WorkerSignal, oneThatComesBeforeTheCommandReachesIt) {
  TemporaryDirectory directory;
  const auto fifo = directory.file("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"/bin/cat"};
  spec.edit = [&](auto assign) {
    assign.getOptions().setStdinPath({reinterpret_cast<const capnp::byte*>(fifo.data()), fifo.size()});
  };
  worker.assign(std::move(spec));
  worker.signal(SIGUSR2, true);
  const shm::Fd writer(::open(fifo.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(worker.waitForEnd().signal, SIGUSR2);
}

TEST(WorkerSignal, killedByOthersIsSignalledAndNothingElse) {
  WorkerProcess worker;
  worker.assignShell("exec sleep 1000");
  ::kill(worker.waitForStart(), SIGKILL);
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.cause, Cause::SIGNALLED);
  EXPECT_EQ(ended.signal, SIGKILL);
}

TEST(WorkerSample, cpuTimeGrowsWhileRunningAndRestsWhileAsleep) {
  WorkerProcess worker;
  worker.assignShell("sh -c 'while :; do :; done' & echo ready; wait");
  worker.waitForOutput("ready");
  std::uint64_t last = 0;
  EXPECT_TRUE(eventually([&] {
    const auto sample = worker.sample();
    last = sample ? sample->first : 0;
    return last >= 100'000'000 && !sample->second;
  }));
  worker.cancel(0);
  worker.waitForEnd();

  worker.assignShell("exec sleep 1000");
  worker.waitForStart();
  EXPECT_TRUE(eventually([&] { return worker.sample()->second; }));
  EXPECT_LT(worker.sample()->first, 100'000'000U);
  worker.cancel(0);
  worker.waitForEnd();
}

TEST(WorkerSample, aThreadThatRunsIsNotAsleep) {
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"/usr/bin/python3", "-c",
               "import ctypes, threading, hashlib\n"
               "data = bytes(1 << 22)\n"
               "def burn():\n"
               "  while True: hashlib.sha256(data).digest()\n"
               "t = threading.Thread(target=burn); t.start(); print('ready', flush=True); t.join()"};
  worker.assign(std::move(spec));
  worker.waitForOutput("ready");
  EXPECT_TRUE(eventually([&] { return stateOf(*worker.started) == 'S' && !worker.sample()->second; }));
  worker.cancel(0);
  worker.waitForEnd();
}

}  // namespace
}  // namespace baton::worker::test
