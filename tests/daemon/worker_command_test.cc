// How commands start and end: exit codes and what cannot be started; and the worker as its daemon sees it.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using testing::HasSubstr;

TEST(WorkerCommand, exitCodesAndSignalsAreTheCommandsOwn) {
  WorkerProcess worker;
  EXPECT_EQ(worker.run({"/bin/true"}).exitCode, 0);
  const auto failed = worker.shell("exit 37");
  EXPECT_EQ(failed.cause, Cause::EXITED);
  EXPECT_EQ(failed.exitCode, 37);
  const auto killed = worker.shell("kill -USR1 $$");
  EXPECT_EQ(killed.cause, Cause::SIGNALLED);
  EXPECT_EQ(killed.signal, SIGUSR1);
  EXPECT_EQ(worker.shell("kill -KILL $$").cause, Cause::SIGNALLED);
}

TEST(WorkerCommand, startedIsSaidWithThePidBeforeTheEnd) {
  WorkerProcess worker;
  worker.shell("echo $$");
  ASSERT_TRUE(worker.started);
  EXPECT_EQ(worker.out, std::to_string(*worker.started) + "\n");
}

TEST(WorkerCommand, missingProgramIs127AndAShellLineGetsTheHint) {
  WorkerProcess worker;
  const auto missing = worker.run({"no-such-program-at-all"});
  EXPECT_EQ(missing.cause, Cause::NOT_FOUND);
  EXPECT_EQ(missing.exitCode, 127);
  EXPECT_THAT(missing.detail, HasSubstr("no-such-program-at-all"));
  EXPECT_THAT(missing.detail, testing::Not(HasSubstr("sh -c")));
  const auto line = worker.run({"a | b"});
  EXPECT_EQ(line.cause, Cause::NOT_FOUND);
  EXPECT_THAT(line.detail, HasSubstr("sh -c 'a | b'"));
  EXPECT_EQ(worker.run({""}).cause, Cause::NOT_FOUND);
  EXPECT_EQ(worker.run({"/no/such/file"}).cause, Cause::NOT_FOUND);
  EXPECT_FALSE(worker.started);
}

TEST(WorkerCommand, whatCannotBeExecutedIs126) {
  TemporaryDirectory directory;
  const auto file = directory.file("data");
  std::ofstream(file) << "text";
  WorkerProcess worker;
  const auto denied = worker.run({file});
  EXPECT_EQ(denied.cause, Cause::NOT_EXECUTABLE);
  EXPECT_EQ(denied.exitCode, 126);
  EXPECT_THAT(denied.detail, HasSubstr("Permission denied"));
  EXPECT_EQ(worker.run({"/"}).cause, Cause::NOT_EXECUTABLE);
}

TEST(WorkerCommand, missingInterpreterSaysThatTheScriptIsThere) {
  TemporaryDirectory directory;
  const auto file = directory.file("script");
  std::ofstream(file) << "#!/no/such/interpreter\n";
  ::chmod(file.c_str(), 0755);
  WorkerProcess worker;
  const auto ended = worker.run({file});
  EXPECT_EQ(ended.exitCode, 127);
  EXPECT_THAT(ended.detail, HasSubstr("interpreter"));
}

TEST(WorkerCommand, scriptWithoutInterpreterLineIsRunByTheShell) {
  TemporaryDirectory directory;
  const auto file = directory.file("script");
  std::ofstream(file) << "echo \"$1-$2\"; exit 3\n";
  ::chmod(file.c_str(), 0755);
  WorkerProcess worker;
  EXPECT_EQ(worker.run({file, "a", "b c"}).exitCode, 3);
  EXPECT_EQ(worker.out, "a-b c\n");
}

TEST(WorkerCommand, programsAreLookedUpInTheContextsPath) {
  TemporaryDirectory first;
  TemporaryDirectory second;
  std::ofstream(first.file("tool")) << "not executable";
  std::ofstream(second.file("tool")) << "#!/bin/sh\necho second\n";
  ::chmod(second.file("tool").c_str(), 0755);
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"tool"};
  spec.context = ipc::captureSurroundings();
  ipc::setEnvironment(*spec.context, "PATH", "/no/such:" + first.path() + ":" + second.path());
  EXPECT_EQ(worker.run(std::move(spec)).exitCode, 0);
  EXPECT_EQ(worker.out, "second\n");

  TaskSpec here;
  here.argv = {"tool"};
  here.context = ipc::captureSurroundings();
  here.context->cwd = second.path();
  ipc::setEnvironment(*here.context, "PATH", "/no/such:");
  EXPECT_EQ(worker.run(std::move(here)).exitCode, 0);

  TaskSpec denied;
  denied.argv = {"tool"};
  denied.context = ipc::captureSurroundings();
  ipc::setEnvironment(*denied.context, "PATH", first.path());
  EXPECT_EQ(worker.run(std::move(denied)).cause, Cause::NOT_EXECUTABLE);
}

TEST(WorkerCommand, argumentsTooLongForTheSystemAreNotExecutable) {
  WorkerProcess worker;
  const auto ended = worker.run({"/bin/true", std::string(300'000, 'x')});
  EXPECT_EQ(ended.cause, Cause::NOT_EXECUTABLE);
  EXPECT_THAT(ended.detail, HasSubstr("too long"));
}

TEST(WorkerCommand, cpuTimeWallTimeAndPeakAreMeasured) {
  WorkerProcess worker;
  const auto ended = worker.run({"/usr/bin/python3", "-c",
                                 "import time\nx = bytearray(64 << 20)\n"
                                 "end = time.process_time() + 0.2\n"
                                 "while time.process_time() < end: pass"});
  EXPECT_GE(ended.cpuNs, 200'000'000U);
  EXPECT_GE(ended.wallNs, 200'000'000U);
  EXPECT_GE(ended.peakBytes, 64U << 20);
  EXPECT_LT(ended.peakBytes, 512U << 20);
  EXPECT_TRUE(ended.peakIsUpperBound);
}

TEST(WorkerProtocol, retireEndsAnIdleWorkerAndTheEndOfTheSocketToo) {
  WorkerProcess retired;
  retired.shell("true");
  ipc::Message message;
  message.frame().setRetire();
  retired.send(message);
  EXPECT_EQ(retired.waitForExit(), 0);
  WorkerProcess left;
  left.disconnect();
  EXPECT_EQ(left.waitForExit(), 0);
}

TEST(WorkerProtocol, unknownFramesAndOtherTasksRequestsChangeNothing) {
  WorkerProcess worker;
  ipc::Message ping;
  ping.frame().setPing();
  worker.send(ping);
  worker.cancel(0);
  worker.signal(SIGKILL, false);
  EXPECT_EQ(worker.sample(), (std::pair<std::uint64_t, bool>{0, true}));
  EXPECT_EQ(worker.shell("exit 4").exitCode, 4);
}

TEST(WorkerProtocol, signalsFromOutsideDoNotEndTheWorker) {
  WorkerProcess worker;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGTSTP, SIGPIPE, SIGALRM}) {
    ::kill(worker.pid(), signal);
  }
  EXPECT_EQ(worker.shell("exit 4").exitCode, 4);
}

}  // namespace
}  // namespace baton::worker::test
