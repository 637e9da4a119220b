// Output that is logged: records in the order read, within the bounds of a log, on disks that fill up.
#include <gmock/gmock.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "daemon/worker/task_log.h"
#include "ipc/log_records.h"
#include "tests/daemon/worker_fixture.h"

namespace baton::worker::test {
namespace {

using testing::HasSubstr;

struct Record {
  int stream;
  std::string bytes;
  std::uint64_t timeNs;
};

// The records in [from, from + length) of a file; fails the test if they are not whole.
std::vector<Record> recordsOf(const std::string& path, std::uint64_t from = 0,
                              std::uint64_t length = UINT64_MAX) {
  const auto text = readText(path);
  ipc::LogDecoder decoder;
  decoder.feed(std::string_view(text).substr(std::min<std::uint64_t>(from, text.size()), length));
  std::vector<Record> records;
  ipc::LogRecord record;
  ipc::LogDecoder::Result result{};
  while ((result = decoder.next(record)) == ipc::LogDecoder::Result::record) {
    records.push_back({record.header.stream, std::string(record.bytes), record.header.timeNs});
  }
  EXPECT_EQ(result, ipc::LogDecoder::Result::more);
  EXPECT_EQ(decoder.pending(), 0U);
  return records;
}

std::string textOf(const std::vector<Record>& records, int stream) {
  std::string text;
  for (const auto& record : records) {
    if (record.stream == stream) text += record.bytes;
  }
  return text;
}

shm::Fd openLog(const std::string& path) {
  return shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
}

TaskSpec logged(const std::string& line) {
  TaskSpec spec;
  spec.argv = {"/bin/sh", "-c", line};
  spec.output = OutputMode::LOG;
  return spec;
}

WorkerProcess::Options withLog(const std::string& path) {
  WorkerProcess::Options options;
  options.log = openLog(path);
  return options;
}

TEST(WorkerLog, recordsAreInTheOrderReadAndThereAtOnce) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  WorkerProcess worker(withLog(log));
  const auto gate = directory.file("gate");
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  worker.assign(
      logged("echo one; read x <" + gate + "; echo two >&2; read x <" + gate + "; echo three; echo four"));
  const auto before = static_cast<std::uint64_t>(::time(nullptr)) * 1'000'000'000 - 60'000'000'000;
  ASSERT_TRUE(eventually([&] { return readText(log).find("one") != std::string::npos; }));
  std::ofstream(gate) << "go\n";
  ASSERT_TRUE(eventually([&] { return readText(log).find("two") != std::string::npos; }));
  std::ofstream(gate) << "go\n";
  const auto ended = worker.waitForEnd();
  const auto records = recordsOf(log);
  ASSERT_GE(records.size(), 3U);
  EXPECT_EQ(records[0].bytes, "one\n");
  EXPECT_EQ(records[1].bytes, "two\n");
  EXPECT_EQ(records[1].stream, 2);
  EXPECT_EQ(textOf(records, 1), "one\nthree\nfour\n");
  EXPECT_GT(records[0].timeNs, before);
  EXPECT_LE(records[0].timeNs, records[1].timeNs);
  EXPECT_EQ(ended.logLength, readText(log).size());
  EXPECT_EQ(ended.outputBytes, 19U);
  EXPECT_EQ(ended.droppedBytes, 0U);
  EXPECT_EQ(ended.logNote, "");
  EXPECT_EQ(worker.out, "");
}

TEST(WorkerLog, tasksFollowEachOtherInOneSegmentUntilAnotherIsGiven) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  WorkerProcess worker(withLog(log));
  const auto first = worker.run(logged("echo first")).logLength;
  EXPECT_EQ(worker.run(logged("true")).logLength, 0U);
  const auto second = worker.run(logged("echo second")).logLength;
  EXPECT_EQ(readText(log).size(), first + second);
  EXPECT_EQ(textOf(recordsOf(log, first, second), 1), "second\n");
  auto spec = logged("echo third");
  spec.segment = openLog(directory.file("other"));
  worker.run(std::move(spec));
  worker.run(logged("echo fourth"));
  EXPECT_EQ(textOf(recordsOf(directory.file("other")), 1), "third\nfourth\n");
  EXPECT_EQ(readText(log).size(), first + second);
}

TEST(WorkerLog, aFileForOneStreamLeavesTheOtherInTheLog) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  WorkerProcess worker(withLog(log));
  const auto file = directory.file("out");
  auto spec = logged("echo to the file; echo to the log >&2");
  spec.edit = [&](auto assign) {
    assign.getOptions().setStdoutPath({reinterpret_cast<const capnp::byte*>(file.data()), file.size()});
  };
  worker.run(std::move(spec));
  EXPECT_EQ(readText(file), "to the file\n");
  EXPECT_EQ(textOf(recordsOf(log), 2), "to the log\n");
  EXPECT_EQ(textOf(recordsOf(log), 1), "");
}

TEST(WorkerLog, whatFitsIntoTheFirstPartNeedsNoFileOfItsOwn) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  WorkerProcess worker(withLog(log));
  const auto ended = worker.run(logged("head -c 1000000 /dev/zero"));
  EXPECT_EQ(ended.outputBytes, 1'000'000U);
  EXPECT_EQ(ended.overflowLength, 0U);
  EXPECT_EQ(textOf(recordsOf(log), 1).size(), 1'000'000U);
}

TEST(WorkerLog, firstAndLastPartAreKeptAndTheGapIsExact) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  const auto overflow = directory.file("overflow");
  const std::string all = numbersTo(11'000'000);
  WorkerProcess worker(withLog(log));
  worker.run(logged("echo before"));
  const auto start = readText(log).size();
  worker.assign(logged("exec seq 1 11000000"));
  worker.waitForOverflowWish();
  worker.giveOverflow(openLog(overflow));
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.exitCode, 0);
  EXPECT_EQ(ended.outputBytes, all.size());
  EXPECT_LE(ended.logLength, ipc::kLogFirstBytes);
  EXPECT_GT(ended.logLength, ipc::kLogFirstBytes - 17);
  const auto first = textOf(recordsOf(log, start, ended.logLength), 1);
  EXPECT_TRUE(all.compare(0, first.size(), first) == 0);

  const auto last = textOf(recordsOf(overflow, ended.overflowStart, ended.overflowLength), 1);
  EXPECT_GT(last.size(), 0U);
  EXPECT_TRUE(all.compare(all.size() - last.size(), last.size(), last) == 0);
  EXPECT_EQ(ended.droppedBytes, all.size() - first.size() - last.size());
  EXPECT_GT(ended.droppedBytes, 0U);
  EXPECT_EQ(ended.logNote, "");
  struct stat status {};
  ASSERT_EQ(::stat(overflow.c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), ended.overflowLength);
  EXPECT_LE(static_cast<std::uint64_t>(status.st_blocks) * 512, kLogLastBytes + 2 * kLogStepBytes);
  EXPECT_GE(last.size(), kLogLastBytes - 2 * kLogStepBytes);
  // Read from its front, the hole ends exactly where the first record that is kept begins.
  EXPECT_TRUE(textOf(recordsOf(overflow), 1) == last);
}

TEST(WorkerLog, withoutRoomForMoreTheRestIsDroppedAndSaidSo) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  WorkerProcess worker(withLog(log));
  worker.assign(logged("head -c 3000000 /dev/zero; exit 6"));
  worker.waitForOverflowWish();
  worker.giveOverflow({});
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.exitCode, 6);
  EXPECT_EQ(ended.outputBytes, 3'000'000U);
  EXPECT_EQ(ended.droppedBytes, 3'000'000U - textOf(recordsOf(log), 1).size());
  EXPECT_THAT(ended.logNote, HasSubstr("no room"));
  EXPECT_EQ(worker.run(logged("echo next")).logNote, "");
}

TEST(WorkerLog, aTaskThatEndsBeforeItsOverflowFileComesWaitsForIt) {
  TemporaryDirectory directory;
  const auto log = directory.file("log");
  const auto overflow = directory.file("overflow");
  WorkerProcess worker(withLog(log));
  worker.assign(logged("head -c 1060000 /dev/zero"));
  const pid_t task = worker.waitForStart();
  worker.waitForOverflowWish();
  ASSERT_TRUE(eventually([&] { return !alive(task); }));
  worker.giveOverflow(openLog(overflow));
  const auto ended = worker.waitForEnd();
  EXPECT_EQ(ended.droppedBytes, 0U);
  EXPECT_EQ(textOf(recordsOf(log), 1).size() + textOf(recordsOf(overflow), 1).size(), 1'060'000U);
}

TEST(WorkerLog, withoutASegmentTheNoteSaysSo) {
  WorkerProcess worker;
  const auto ended = worker.run(logged("echo lost"));
  EXPECT_EQ(ended.exitCode, 0);
  EXPECT_EQ(ended.droppedBytes, 5U);
  EXPECT_NE(ended.logNote, "");
}

// A file system of its own, mounted nowhere.
shm::Fd fileSystem(const char* type, const char* size) {
  const shm::Fd context(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
  if (!context ||
      (size != nullptr && ::syscall(SYS_fsconfig, context.get(), FSCONFIG_SET_STRING, "size", size, 0) < 0) ||
      ::syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) {
    return {};
  }
  return shm::Fd(static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
}

TEST(WorkerLog, aFullDiskCutsTheLogAndTheTaskGoesOn) {
  const auto disk = fileSystem("tmpfs", "256k");
  if (!disk) GTEST_SKIP() << "only root can make a small file system";
  WorkerProcess::Options options;
  options.log = shm::Fd(::openat(disk.get(), "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const auto path = "/proc/self/fd/" + std::to_string(options.log.get());
  const shm::Fd reader(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  WorkerProcess worker(std::move(options));
  const auto ended = worker.run(logged("head -c 600000 /dev/zero && exit 9"));
  EXPECT_EQ(ended.exitCode, 9);
  EXPECT_THAT(ended.logNote, HasSubstr("No space left on device"));
  EXPECT_EQ(ended.outputBytes, 600'000U);
  const auto kept = textOf(recordsOf("/proc/self/fd/" + std::to_string(reader.get())), 1).size();
  EXPECT_GT(kept, 100'000U);
  EXPECT_EQ(kept + ended.droppedBytes, 600'000U);
}

TEST(WorkerLog, overflowOnAFullDiskIsCutToo) {
  const auto disk = fileSystem("tmpfs", "256k");
  if (!disk) GTEST_SKIP() << "only root can make a small file system";
  TemporaryDirectory directory;
  WorkerProcess worker(withLog(directory.file("log")));
  worker.assign(logged("head -c 3000000 /dev/zero"));
  worker.waitForOverflowWish();
  worker.giveOverflow(shm::Fd(::openat(disk.get(), "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)));
  const auto ended = worker.waitForEnd();
  EXPECT_THAT(ended.logNote, HasSubstr("No space left on device"));
  EXPECT_EQ(ended.exitCode, 0);
  EXPECT_GT(ended.overflowLength, 0U);
}

TEST(TaskLog, whereTheFrontCannotBeDroppedTheLogEndsAtItsBound) {
  const auto disk = fileSystem("ramfs", nullptr);
  if (!disk) GTEST_SKIP() << "only root can make a file system without holes";
  TemporaryDirectory directory;
  RecordFile segment(openLog(directory.file("segment")));
  TaskLog log(&segment);
  const std::string part(60'000, 'x');
  for (int i = 0; i < 1200; ++i) {
    log.write(1, part);
    if (log.takeOverflowWish()) {
      log.giveOverflow(shm::Fd(::openat(disk.get(), "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600)));
    }
  }
  EXPECT_THAT(log.note(), HasSubstr("first 64 MiB"));
  EXPECT_LE(log.overflowBytes(), kLogLastBytes);
  EXPECT_GT(log.overflowBytes(), kLogLastBytes - 70'000);
  EXPECT_EQ(log.overflowStart(), 0U);
  EXPECT_GT(log.droppedBytes(), 0U);
  EXPECT_EQ(log.outputBytes(), 1200U * 60'000);
}

}  // namespace
}  // namespace baton::worker::test
