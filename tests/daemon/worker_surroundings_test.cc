// Commands run with exactly the surroundings of their submitter.
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <set>
#include <sstream>

#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using testing::HasSubstr;

Ended runIn(WorkerProcess& worker, const ipc::Surroundings& context, const std::string& line) {
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.context = context;
  return worker.run(std::move(spec));
}

TEST(WorkerSurroundings, environmentIsTheSubmittersAndBatonsOwnWords) {
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"/usr/bin/env"};
  spec.context = ipc::captureSurroundings();
  spec.context->environment = {"A=1", "B=two words", "BATON_TASK=of the submitter", "OMP_NUM_THREADS=7"};
  spec.edit = [](auto assign) {
    assign.setTask(12);
    assign.setLabel("12.3");
    assign.setSlot(4);
    assign.setSlots(2);
    assign.setAttempt(5);
    assign.setSocket({reinterpret_cast<const capnp::byte*>("/run/x"), 6});
  };
  worker.run(std::move(spec));
  std::multiset<std::string> words;
  std::istringstream lines(worker.out);
  for (std::string line; std::getline(lines, line);) words.insert(line);
  EXPECT_EQ(words, (std::multiset<std::string>{"A=1", "B=two words", "OMP_NUM_THREADS=7",
                                               "BATON_TASK_ID=12.3", "BATON_TASK=12:0123456789abcdef",
                                               "BATON_SLOT=4", "BATON_ATTEMPT=5", "BATON_SOCKET=/run/x",
                                               "OPENBLAS_NUM_THREADS=2", "MKL_NUM_THREADS=2"}));
}

TEST(WorkerSurroundings, directoryAndUmaskAreTheSubmitters) {
  TemporaryDirectory directory;
  WorkerProcess worker;
  auto context = ipc::captureSurroundings();
  context.cwd = directory.path();
  context.umask = 0137;
  runIn(worker, context, "pwd; umask; touch made");
  EXPECT_EQ(worker.out, directory.path() + "\n0137\n");
  struct stat status {};
  ASSERT_EQ(::stat(directory.file("made").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
  // The next task has its own again.
  runIn(worker, ipc::captureSurroundings(), "umask");
  EXPECT_NE(worker.out, "0137\n");
}

TEST(WorkerSurroundings, limitsAreExactAndOnlyTheTasks) {
  WorkerProcess worker;
  auto context = ipc::captureSurroundings();
  context.limits[RLIMIT_NOFILE] = {77, 99};
  context.limits[RLIMIT_CORE] = {0, 4096 * 512};
  context.limits[RLIMIT_FSIZE] = {512 * 5, 512 * 9};
  const std::string query = "for l in n c f; do ulimit -S$l; ulimit -H$l; done";
  runIn(worker, context, query);
  EXPECT_EQ(worker.out, "77\n99\n0\n4096\n5\n9\n");
  const auto own = ipc::captureSurroundings();
  runIn(worker, own, "ulimit -Sn");
  EXPECT_EQ(worker.out, std::to_string(own.limits[RLIMIT_NOFILE].soft) + "\n");
}

TEST(WorkerSurroundings, everyLimitArrives) {
  WorkerProcess worker;
  const auto own = ipc::captureSurroundings();
  TaskSpec spec;
  spec.argv = {"/bin/cat", "/proc/self/limits"};
  spec.context = own;
  worker.run(std::move(spec));
  EXPECT_EQ(worker.out, readText("/proc/self/limits"));
}

TEST(WorkerSurroundings, niceIsTheSubmittersPlusTheLanes) {
  WorkerProcess worker;
  auto context = ipc::captureSurroundings();
  context.nice = 5;
  runIn(worker, context, "nice");
  EXPECT_EQ(worker.out, "5\n");
  for (const auto& [added, expected] : {std::pair{10, "15\n"}, {19, "19\n"}}) {
    TaskSpec spec;
    spec.argv = {"nice"};
    spec.context = context;
    spec.edit = [added = added](auto assign) { assign.setIoNice(static_cast<std::uint8_t>(added)); };
    worker.run(std::move(spec));
    EXPECT_EQ(worker.out, expected);
  }
}

TEST(WorkerSurroundings, ioPriorityIsTheSubmitters) {
  WorkerProcess worker;
  auto context = ipc::captureSurroundings();
  context.ioPriority = (2 << 13) | 6;
  runIn(worker, context, "ionice");
  EXPECT_EQ(worker.out, "best-effort: prio 6\n");
  context.ioPriority = 3 << 13;
  runIn(worker, context, "ionice");
  EXPECT_EQ(worker.out, "idle\n");
}

TEST(WorkerSurroundings, affinityIsTheSubmittersWithinThePools) {
  const auto own = ipc::captureSurroundings();
  if (own.affinity.empty() || own.affinity[0] == 0) GTEST_SKIP() << "CPU 0..7 are not ours";
  const auto lowest = static_cast<std::uint8_t>(own.affinity[0] & -own.affinity[0]);
  WorkerProcess worker;
  auto context = own;
  context.affinity = {lowest, 0xff, 0xff};
  runIn(worker, context, "taskset -p $$ | sed 's/.*: //'");
  EXPECT_EQ(std::stoi(worker.out, nullptr, 16), lowest);
  // None of the pool's: the pool's.
  context.affinity = {0, 0, 0, 0, 0, 0x80};
  runIn(worker, context, "taskset -p $$ | sed 's/.*: //'");
  EXPECT_EQ(std::stoul(worker.out, nullptr, 16) & 0xff, own.affinity[0]);
}

TEST(WorkerSurroundings, signalsAreDefaultButThoseIgnored) {
  WorkerProcess worker;
  const auto masks = [&](std::uint64_t ignored) {
    TaskSpec spec;
    spec.argv = {"/bin/cat", "/proc/self/status"};
    spec.context = ipc::captureSurroundings();
    spec.context->ignoredSignals = ignored;
    worker.run(std::move(spec));
    return worker.out.substr(worker.out.find("SigPnd"),
                             worker.out.find("CapInh") - worker.out.find("SigPnd"));
  };
  const std::string none = "0000000000000000\n";
  EXPECT_EQ(masks(0), "SigPnd:\t" + none + "ShdPnd:\t" + none + "SigBlk:\t" + none + "SigIgn:\t" + none +
                          "SigCgt:\t" + none);
  EXPECT_THAT(masks(1U << (SIGPIPE - 1) | 1U << (SIGHUP - 1)), HasSubstr("SigIgn:\t0000000000001001\n"));
}

TEST(WorkerSurroundings, onlyTheThreeStandardDescriptorsAreOpen) {
  const int extra = ::open("/dev/null", O_RDONLY);  // inherited by the worker, must not reach the task
  WorkerProcess worker;
  worker.run({"/bin/ls", "/proc/self/fd"});
  ::close(extra);
  EXPECT_EQ(worker.out, "0\n1\n2\n3\n");  // 3 is ls's own, of the directory
}

TEST(WorkerSurroundings, aCommandIsTheLeaderOfItsOwnSessionWithoutTerminal) {
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", "ps -o sid=,pgid=,tty= -p $$"};
  worker.run(std::move(spec));
  std::istringstream words(worker.out);
  pid_t session = 0;
  pid_t group = 0;
  std::string terminal;
  words >> session >> group >> terminal;
  EXPECT_EQ(session, *worker.started);
  EXPECT_EQ(group, *worker.started);
  EXPECT_EQ(terminal, "?");
}

TEST(WorkerSurroundings, filesAreOpenedRelativeToTheDirectory) {
  TemporaryDirectory directory;
  std::ofstream(directory.file("in")) << "input";
  WorkerProcess worker;
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", "cat; echo error >&2; echo end"};
  spec.context = ipc::captureSurroundings();
  spec.context->cwd = directory.path();
  spec.edit = [](auto assign) {
    auto options = assign.getOptions();
    options.setStdinPath({reinterpret_cast<const capnp::byte*>("in"), 2});
    options.setStdoutPath({reinterpret_cast<const capnp::byte*>("out"), 3});
    options.setStderrPath({reinterpret_cast<const capnp::byte*>("out"), 3});
  };
  EXPECT_EQ(worker.run(std::move(spec)).exitCode, 0);
  EXPECT_EQ(readText(directory.file("out")), "inputerror\nend\n");
  EXPECT_EQ(worker.out, "");
}

TEST(WorkerSurroundings, whatCannotBeSetIsNamed) {
  WorkerProcess worker;
  auto context = ipc::captureSurroundings();
  context.cwd = "/no/such/directory";
  const auto noDirectory = runIn(worker, context, "true");
  EXPECT_EQ(noDirectory.cause, Cause::SURROUNDINGS);
  EXPECT_EQ(noDirectory.exitCode, 125);
  EXPECT_THAT(noDirectory.detail, HasSubstr("/no/such/directory: No such file"));

  TaskSpec spec;
  spec.argv = {"true"};
  spec.context = ipc::captureSurroundings();
  spec.edit = [](auto assign) {
    assign.getOptions().setStdinPath({reinterpret_cast<const capnp::byte*>("/no/input"), 9});
  };
  const auto noInput = worker.run(std::move(spec));
  EXPECT_EQ(noInput.cause, Cause::SURROUNDINGS);
  EXPECT_THAT(noInput.detail, HasSubstr("standard input (/no/input): No such file"));

  auto beyond = ipc::captureSurroundings();
  beyond.limits[RLIMIT_NOFILE] = {1ULL << 40, 1ULL << 40};  // above the kernel's own, even for root
  const auto noLimit = runIn(worker, beyond, "true");
  EXPECT_EQ(noLimit.cause, Cause::SURROUNDINGS);
  EXPECT_THAT(noLimit.detail, HasSubstr("limit of open files to 1099511627776"));
}

// `cat` with its stdin from a FIFO that nobody may have opened.
class OfAFifo {
 public:
  OfAFifo() : path_(directory_.file("fifo")) { EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0); }
  const std::string& path() const { return path_; }
  TaskSpec task() const {
    TaskSpec task;
    task.argv = {"/bin/cat"};
    task.edit = [this](auto assign) {
      assign.getOptions().setStdinPath({reinterpret_cast<const capnp::byte*>(path_.data()), path_.size()});
    };
    return task;
  }

 private:
  TemporaryDirectory directory_;
  std::string path_;
};

TEST(WorkerSurroundings, aFifoThatNobodyOpensBlocksTheTaskAndNotTheWorker) {
  const OfAFifo fifo;
  WorkerProcess worker;
  worker.assign(fifo.task());
  ASSERT_TRUE(worker.sample());
  worker.cancel(60'000'000'000);
  EXPECT_EQ(worker.waitForEnd().cause, Cause::CANCELLED);

  worker.assign(fifo.task());
  std::ofstream(fifo.path()) << "through the fifo";
  EXPECT_EQ(worker.waitForEnd().exitCode, 0);
  EXPECT_EQ(worker.out, "through the fifo");
}

// No TERM is lost between the start of the process that opens the FIFO and the birth of the command's own.
TEST(WorkerSurroundings, aCancelThatComesWithTheTaskEndsItByTerm) {
  const OfAFifo fifo;
  WorkerProcess worker;
  for (int round = 0; round < 20; ++round) {
    worker.assign(fifo.task());
    worker.cancel(300'000'000'000);
    const auto ended = worker.waitForEnd();
    EXPECT_EQ(ended.cause, Cause::CANCELLED);
    EXPECT_EQ(ended.signal, SIGTERM);
  }
}

}  // namespace
}  // namespace baton::worker::test
