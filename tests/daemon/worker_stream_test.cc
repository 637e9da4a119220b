// Output that is streamed: whole, and with back-pressure.
#include <gmock/gmock.h>

#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

TEST(WorkerStream, bytesArriveAsTheyArePrinted) {
  WorkerProcess worker;
  const auto ended = worker.run({"/usr/bin/printf", "a\\0b\\377 no newline"});
  EXPECT_EQ(worker.out, std::string("a\0b\377 no newline", 15));
  EXPECT_EQ(ended.outputBytes, 15U);
  worker.shell("echo out; echo err >&2");
  EXPECT_EQ(worker.out, "out\n");
  EXPECT_EQ(worker.err, "err\n");
}

TEST(WorkerStream, muchOutputArrivesWhole) {
  WorkerProcess worker;
  const auto ended = worker.run({"seq", "1", "1000000"});
  EXPECT_EQ(ended.outputBytes, worker.out.size());
  EXPECT_TRUE(worker.out == numbersTo(1'000'000));
}

TEST(WorkerStream, aGreatPipeIsReadToItsEnd) {
  WorkerProcess worker;
  worker.run({"/usr/bin/python3", "-c",
              "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 20); os.write(1, b'x' * (1 << 20))"});
  EXPECT_EQ(worker.out.size(), 1U << 20);
}

TEST(WorkerStream, aReaderThatDoesNotReadHoldsTheTaskAndCostsNoMemory) {
  WorkerProcess worker;
  worker.assignShell("exec head -c 60000000 /dev/zero");
  worker.waitForOutput(std::string(1, '\0'));
  const pid_t task = worker.waitForStart();
  int asleep = 0;
  ASSERT_TRUE(eventually([&] { return (asleep = stateOf(task) == 'S' ? asleep + 1 : 0) == 50; }));
  const auto status = readText("/proc/" + std::to_string(worker.pid()) + "/status");
#ifndef BATON_SANITIZED                                                  // whose own memory is much more
  EXPECT_LT(std::stoi(status.substr(status.find("VmRSS:") + 6)), 8192);  // KiB
#endif
  worker.waitForEnd();
  EXPECT_EQ(worker.out.size(), 60'000'000U);
}

TEST(WorkerStream, heldOutputWaitsInTheTask) {
  WorkerProcess worker;
  worker.assignShell("kill -STOP $$; head -c 300000 /dev/zero; exit 3");
  const pid_t task = worker.waitForStart();
  ASSERT_TRUE(eventually([&] { return stateOf(task) == 'T'; }));
  worker.holdOutput(true);
  ASSERT_TRUE(worker.sample());  // it has been read by then
  ::kill(task, SIGCONT);
  ASSERT_TRUE(eventually([&] {
    const auto sample = worker.sample();
    return sample && sample->second && alive(task);
  }));
  EXPECT_EQ(worker.out, "");
  worker.holdOutput(false);
  EXPECT_EQ(worker.waitForEnd().exitCode, 3);
  EXPECT_EQ(worker.out.size(), 300'000U);
}

TEST(WorkerStream, outputHeldAtTheEndDelaysTheReportOnly) {
  WorkerProcess worker;
  worker.assignShell("kill -STOP $$; echo last words");
  const pid_t task = worker.waitForStart();
  ASSERT_TRUE(eventually([&] { return stateOf(task) == 'T'; }));
  worker.holdOutput(true);
  ASSERT_TRUE(worker.sample());  // it has been read by then
  ::kill(task, SIGCONT);
  ASSERT_TRUE(eventually([&] { return !alive(task); }));
  worker.holdOutput(false);
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  EXPECT_EQ(worker.out, "last words\n");
}

TEST(WorkerStream, moreThanIsSentAtOnceIsLeftAtTheEnd) {
  WorkerProcess::Options options;
  options.before = [] {
    // So that no write of the worker's is short, and nothing wakes it but the rest that it has to read.
    const int bytes = 4 << 20;
    if (::setsockopt(3, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0) {
      ::setsockopt(3, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
  };
  WorkerProcess worker(std::move(options));
  worker.holdOutput(true);
  TaskSpec spec;
  spec.argv = {"/usr/bin/python3", "-c",
               "import fcntl, os; fcntl.fcntl(1, 1031, 1 << 20); os.write(1, b'x' * (1 << 20))"};
  worker.assign(std::move(spec));
  const pid_t task = worker.waitForStart();
  ASSERT_TRUE(eventually([&] { return !alive(task); }));
  worker.holdOutput(false);
  EXPECT_EQ(worker.waitForEnd().outputBytes, 1U << 20);
  EXPECT_EQ(worker.out.size(), 1U << 20);
}

TEST(WorkerStream, aTaskMayCloseItsOutputEarly) {
  WorkerProcess worker;
  const auto ended =
      worker.shell("echo before; exec >&- 2>&-; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; exit 5");
  EXPECT_EQ(ended.exitCode, 5);
  EXPECT_EQ(worker.out, "before\n");
}

}  // namespace
}  // namespace baton::worker::test
