#include "daemon/log_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "ipc/log_records.h"

namespace baton::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1 << 20;

// A worker as the store sees it: it has a segment and appends what its tasks write.
struct Worker {
  LogStore::Opened segment;
  LogStore::Opened overflow;

  explicit Worker(LogStore& store) : segment(store.openSegment()) {}
  static void append(const shm::Fd& fd, const std::string& bytes) {
    ASSERT_EQ(::write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
};

class LogStoreTest : public ::testing::Test {
 protected:
  LogStoreTest() {
    std::string path = ::testing::TempDir() + "logsXXXXXX";
    root_ = mkdtemp(path.data());
    options_.directory = root_ / "logs";
  }
  ~LogStoreTest() override { fs::remove_all(root_); }

  // A whole task that writes `bytes`.
  static void run(LogStore& store, Worker& worker, std::uint64_t task, const std::string& bytes) {
    store.begin(task, worker.segment.file);
    if (!bytes.empty()) Worker::append(worker.segment.fd, bytes);
    store.finish(task, {.length = bytes.size()});
  }
  static std::string read(const LogStore::Part& part) {
    struct stat status {};
    fstat(part.fd.get(), &status);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    const std::uint64_t length = part.length == LogStore::kGrowing ? size - part.offset : part.length;
    std::string bytes(length, '\0');
    EXPECT_EQ(::pread(part.fd.get(), bytes.data(), length, static_cast<off_t>(part.offset)),
              static_cast<ssize_t>(length));
    return bytes;
  }
  static std::string contentOf(const LogStore& store, std::uint64_t task) {
    std::string bytes;
    for (const LogStore::Part& part : store.partsOf(task).parts) bytes += read(part);
    return bytes;
  }
  // What the files take on disk.
  std::uint64_t onDisk() const {
    std::uint64_t bytes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(options_.directory)) {
      struct stat status {};
      if (entry.is_regular_file() && lstat(entry.path().c_str(), &status) == 0)
        bytes += status.st_blocks * 512;
    }
    return bytes;
  }
  std::size_t files() const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(options_.directory))
      count += entry.is_regular_file() ? 1 : 0;
    return count;
  }
  static void tidyAll(LogStore& store) {
    for (int i = 0; store.busy(); ++i) {
      ASSERT_LT(i, 10'000) << "tidying has no end";
      store.tidy();
    }
  }

  fs::path root_;
  LogStoreOptions options_;
};

TEST_F(LogStoreTest, tasksOfOneWorkerShareASegment) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "one");
  run(store, worker, 2, "");
  run(store, worker, 3, "three");
  EXPECT_EQ(contentOf(store, 1), "one");
  EXPECT_EQ(contentOf(store, 2), "");
  EXPECT_EQ(contentOf(store, 3), "three");
  EXPECT_TRUE(store.partsOf(2).parts.empty());
  EXPECT_EQ(store.partsOf(2).note, "");
  EXPECT_FALSE(store.partsOf(3).running);
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(store.usedBytes(), 8U);
  EXPECT_TRUE(store.partsOf(99).parts.empty());
}

TEST_F(LogStoreTest, partsCannotBeWrittenAndWritersCannotOverwrite) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "one");
  const auto log = store.partsOf(1);
  EXPECT_EQ(fcntl(log.parts.at(0).fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_NE(fcntl(log.parts.at(0).fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(worker.segment.fd.get(), F_GETFL) & O_APPEND, 0);
  EXPECT_NE(fcntl(worker.segment.fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(LogStoreTest, aRunningTaskIsReadWhileItGrows) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "before");
  store.begin(2, worker.segment.file);
  Worker::append(worker.segment.fd, "so far");
  const auto log = store.partsOf(2);
  EXPECT_TRUE(log.running);
  ASSERT_EQ(log.parts.size(), 1U);
  EXPECT_EQ(log.parts[0].offset, 6U);
  EXPECT_EQ(log.parts[0].length, LogStore::kGrowing);
  Worker::append(worker.segment.fd, ", and more");
  EXPECT_EQ(read(log.parts[0]), "so far, and more");
  store.finish(2, {.length = 16});
  EXPECT_EQ(contentOf(store, 2), "so far, and more");
}

TEST_F(LogStoreTest, forgettingOldLogsLeavesARunningOneAlone) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "old");
  store.begin(2, worker.segment.file);
  Worker::append(worker.segment.fd, "running");
  store.forget(1);
  EXPECT_EQ(contentOf(store, 2), "running");
  store.finish(2, {.length = 7});
  EXPECT_EQ(contentOf(store, 2), "running");
}

TEST_F(LogStoreTest, aLongLogGoesOnInAFileOfItsOwn) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "x");
  store.begin(2, worker.segment.file);
  Worker::append(worker.segment.fd, "first");
  auto overflow = store.openOverflow(2);
  ASSERT_TRUE(overflow.fd) << overflow.note;
  EXPECT_EQ(store.usedBytes(), 1 + 63 * kMiB);
  Worker::append(overflow.fd, "droppedrest");
  auto log = store.partsOf(2);
  EXPECT_TRUE(log.running);
  ASSERT_EQ(log.parts.size(), 2U);
  EXPECT_EQ(log.parts[0].length, 5U);
  EXPECT_EQ(log.parts[1].length, LogStore::kGrowing);
  EXPECT_FALSE(store.openOverflow(2).fd);
  store.finish(2, {.length = 5, .overflowStart = 7, .overflowLength = 11});
  log = store.partsOf(2);
  ASSERT_EQ(log.parts.size(), 2U);
  EXPECT_EQ(read(log.parts[0]) + read(log.parts[1]), "firstrest");
  EXPECT_FALSE(log.running);
  EXPECT_EQ(store.usedBytes(), 6 + 4096U);
  run(store, worker, 3, "next");
  EXPECT_EQ(contentOf(store, 3), "next");
  store.forget(2);
  EXPECT_EQ(files(), 1U);
}

TEST_F(LogStoreTest, attemptsAreReadOneAfterTheOther) {
  LogStore store(options_);
  Worker one(store);
  Worker two(store);
  run(store, one, 1, "first ");
  run(store, two, 9, "other");
  run(store, two, 1, "second ");
  run(store, one, 1, "");
  store.begin(1, one.segment.file);
  Worker::append(one.segment.fd, "fourth");
  EXPECT_TRUE(store.partsOf(1).running);
  EXPECT_EQ(contentOf(store, 1), "first second fourth");
  store.forget(1);
  EXPECT_EQ(contentOf(store, 1), "first second fourth");
  store.finish(1, {.length = 6});
  EXPECT_EQ(contentOf(store, 1), "first second fourth");
  store.forget(1);
  EXPECT_EQ(contentOf(store, 1), "");
  EXPECT_EQ(contentOf(store, 9), "other");
}

TEST_F(LogStoreTest, aDeadWorkersTaskKeepsWhatIsInTheFiles) {
  for (const bool closeFirst : {false, true}) {
    LogStore store(options_);
    Worker worker(store);
    run(store, worker, 1, "one");
    store.begin(2, worker.segment.file);
    Worker::append(worker.segment.fd, "half a rec");
    auto overflow = store.openOverflow(2);
    Worker::append(overflow.fd, "more");
    if (closeFirst) store.closeSegment(worker.segment.file);
    store.finishLost(2);
    if (!closeFirst) store.closeSegment(worker.segment.file);
    EXPECT_EQ(contentOf(store, 2), "half a recmore");
    EXPECT_EQ(contentOf(store, 1), "one");
    store.forget(1);
    store.forget(2);
    EXPECT_EQ(store.usedBytes(), 0U);
    EXPECT_EQ(files(), 0U);
  }
}

TEST_F(LogStoreTest, aWorkerThatDiesSilentlyLeavesNoFile) {
  for (const bool closeFirst : {false, true}) {
    LogStore store(options_);
    Worker worker(store);
    store.begin(1, worker.segment.file);
    if (closeFirst) store.closeSegment(worker.segment.file);
    store.finishLost(1);
    if (!closeFirst) store.closeSegment(worker.segment.file);
    EXPECT_EQ(files(), 0U);
    EXPECT_TRUE(store.partsOf(1).parts.empty());
  }
}

TEST_F(LogStoreTest, reportsAreBelievedOnlyAsFarAsTheFilesGo) {
  LogStore store(options_);
  Worker worker(store);
  store.begin(1, worker.segment.file);
  Worker::append(worker.segment.fd, "abc");
  auto overflow = store.openOverflow(1);
  Worker::append(overflow.fd, "defg");
  store.finish(1, {.length = UINT64_MAX, .overflowStart = UINT64_MAX, .overflowLength = UINT64_MAX - 1});
  EXPECT_EQ(contentOf(store, 1), "abc");
  EXPECT_EQ(store.partsOf(1).parts.at(0).length, 3U);
  // Bytes that no record claims are not given to the next task.
  store.begin(2, worker.segment.file);
  Worker::append(worker.segment.fd, "wholetorn");
  store.finish(2, {.length = 5}, "the disk is full");
  run(store, worker, 3, "next");
  EXPECT_EQ(contentOf(store, 2), "whole");
  EXPECT_EQ(store.partsOf(2).note, "the disk is full");
  EXPECT_EQ(contentOf(store, 3), "next");
  store.begin(4, worker.segment.file);
  Worker::append(worker.segment.fd, "torn");
  store.finish(4, {}, "the disk is full");
  run(store, worker, 5, "last");
  EXPECT_TRUE(store.partsOf(4).parts.empty());
  EXPECT_EQ(contentOf(store, 5), "last");
  store.forget(4);
  EXPECT_EQ(contentOf(store, 5), "last");
  store.finish(77, {.length = 5});
  store.finishLost(77);
  EXPECT_FALSE(store.openOverflow(77).fd);
}

// A worker of another uid may do with its file what it likes; the store's own state stays bounded.
TEST_F(LogStoreTest, aFileMadeHugeHurtsNobodyElse) {
  LogStore store(options_);
  Worker honest(store);
  run(store, honest, 1, "honest");
  Worker hostile(store);
  store.begin(2, hostile.segment.file);
  ASSERT_EQ(ftruncate(hostile.segment.fd.get(), 1LL << 43), 0);
  store.finish(2, {.length = 1ULL << 43});
  EXPECT_LT(store.usedBytes(), kMiB);
  EXPECT_LE(store.partsOf(2).parts.at(0).length, 2 * kMiB);
  EXPECT_TRUE(store.full(hostile.segment.file));
  run(store, hostile, 3, "after");
  EXPECT_EQ(contentOf(store, 3), "after");
  tidyAll(store);
  EXPECT_EQ(contentOf(store, 1), "honest");
  store.forget(2);
  store.forget(3);
  store.closeSegment(hostile.segment.file);
  EXPECT_EQ(store.usedBytes(), 6U);
}

// A silent attempt begins where the next task's bytes are: dropping it must not drop those.
TEST_F(LogStoreTest, forgettingASilentAttemptLeavesItsNeighbourAlone) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "loud");
  run(store, worker, 1, "");
  run(store, worker, 2, "neighbour");
  store.forget(1);
  store.closeSegment(worker.segment.file);
  EXPECT_EQ(contentOf(store, 2), "neighbour");
  store.forget(2);
  EXPECT_EQ(files(), 0U);
}

TEST_F(LogStoreTest, aFullSegmentIsReplacedAndRemovedWithItsLastTask) {
  LogStore store(options_);
  Worker worker(store);
  EXPECT_FALSE(store.full(worker.segment.file));
  for (std::uint64_t task = 1; task <= 17; ++task) run(store, worker, task, std::string(kMiB, 'x'));
  EXPECT_TRUE(store.full(worker.segment.file));
  const auto replaced = worker.segment.file;
  worker.segment = store.openSegment();
  store.closeSegment(replaced);
  run(store, worker, 18, "in the new one");
  EXPECT_EQ(files(), 2U);
  EXPECT_EQ(contentOf(store, 17), std::string(kMiB, 'x'));
  for (std::uint64_t task = 17; task >= 1; --task) store.forget(task);
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(store.usedBytes(), 14U);
  EXPECT_EQ(contentOf(store, 18), "in the new one");
}

TEST_F(LogStoreTest, theOldestLogsAreDroppedFirst) {
  options_.totalBytes = 8 * kMiB;
  options_.perTaskBytes = 2 * kMiB;
  for (const bool punch : {true, false}) {
    options_.punchHoles = punch;
    LogStore store(options_);
    Worker one(store);
    Worker two(store);
    std::uint64_t last = 200;
    for (std::uint64_t task = 1; task <= last; ++task) {
      Worker& worker = task % 3 == 0 ? one : two;
      run(store, worker, task, std::string(100'000, static_cast<char>('a' + task % 26)));
      if (!punch && task % 20 == 0) {  // as a full segment is
        const auto replaced = worker.segment.file;
        worker.segment = store.openSegment();
        store.closeSegment(replaced);
      }
      tidyAll(store);
      EXPECT_LE(store.usedBytes(), options_.totalBytes);
    }
    std::uint64_t oldest = last;
    while (oldest > 1 && store.partsOf(oldest - 1).note.empty()) --oldest;
    EXPECT_GT(last - oldest, punch ? 78U : 20U) << punch;
    for (std::uint64_t task = oldest; task <= last; ++task) {
      EXPECT_EQ(contentOf(store, task), std::string(100'000, static_cast<char>('a' + task % 26))) << task;
    }
    EXPECT_THAT(store.partsOf(oldest - 1).note, HasSubstr("the log was dropped"));
    EXPECT_TRUE(store.partsOf(1).parts.empty());
    EXPECT_LE(onDisk(), options_.totalBytes + 3 * 4096);
    fs::remove_all(options_.directory);
  }
}

// What counts is when a task's last attempt finished.
TEST_F(LogStoreTest, aTaskThatRanAgainIsNotTheOldest) {
  options_.totalBytes = 2 * kMiB;
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "first, ");
  run(store, worker, 2, std::string(kMiB, 'x'));
  run(store, worker, 1, "again");
  run(store, worker, 3, std::string(kMiB, 'x'));
  tidyAll(store);
  EXPECT_THAT(store.partsOf(2).note, HasSubstr("dropped"));
  EXPECT_EQ(contentOf(store, 1), "first, again");
  EXPECT_EQ(contentOf(store, 3).size(), kMiB);
}

TEST_F(LogStoreTest, runningTasksAloneCannotPassTheBound) {
  options_.totalBytes = 8 * kMiB;
  options_.perTaskBytes = 4 * kMiB;
  LogStore store(options_);
  Worker worker(store);
  for (const std::uint64_t task : {1, 11, 12}) run(store, worker, task, std::string(kMiB, 'x'));
  std::vector<LogStore::Opened> overflows;
  for (std::uint64_t task = 2; task <= 3; ++task) {
    Worker other(store);
    store.begin(task, other.segment.file);
    overflows.push_back(store.openOverflow(task));
    EXPECT_TRUE(overflows.back().fd);
  }
  store.begin(4, worker.segment.file);
  const auto refused = store.openOverflow(4);
  EXPECT_FALSE(refused.fd);
  EXPECT_THAT(refused.note, HasSubstr("8 MiB in all (log_total)"));
  Worker::append(worker.segment.fd, "begin");
  store.finish(4, {.length = 5});
  EXPECT_EQ(store.partsOf(4).note, refused.note);
  EXPECT_EQ(contentOf(store, 4), "begin");
  EXPECT_TRUE(store.busy());
  tidyAll(store);
  EXPECT_LE(store.usedBytes(), 8 * kMiB);
  EXPECT_THAT(store.partsOf(1).note, HasSubstr("dropped"));
  store.finish(2, {});
  store.finish(3, {});
  EXPECT_LE(store.usedBytes(), 8 * kMiB);
  store.begin(5, worker.segment.file);
  EXPECT_TRUE(store.openOverflow(5).fd);
}

TEST_F(LogStoreTest, aSmallerBoundIsInForceAtOnce) {
  LogStore store(options_);
  Worker worker(store);
  for (std::uint64_t task = 1; task <= 10; ++task) run(store, worker, task, std::string(kMiB, 'x'));
  EXPECT_FALSE(store.busy() && store.usedBytes() > store.totalBytes());
  store.setLimits(4 * kMiB, 2 * kMiB);
  tidyAll(store);
  EXPECT_LE(onDisk(), 4 * kMiB + 4096);
  EXPECT_EQ(contentOf(store, 10).size(), kMiB);
}

// A random history against a plain model: what is not forgotten or dropped is read back, and disk use is as
// counted.
TEST_F(LogStoreTest, randomHistory) {
  options_.totalBytes = 3 * kMiB;
  options_.perTaskBytes = 2 * kMiB;
  LogStore store(options_);
  std::mt19937_64 random(5);
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(std::make_unique<Worker>(store));
  std::unordered_map<std::uint64_t, std::string> kept;
  for (std::uint64_t task = 1; task <= 3'000; ++task) {
    auto& worker = workers[random() % workers.size()];
    std::string bytes(random() % 4 == 0 ? 0 : random() % 8'000, static_cast<char>('a' + random() % 26));
    if (random() % 50 == 0) {
      store.begin(task, worker->segment.file);
      Worker::append(worker->segment.fd, bytes);
      store.closeSegment(worker->segment.file);
      store.finishLost(task);
      worker = std::make_unique<Worker>(store);
    } else {
      run(store, *worker, task, bytes);
    }
    kept[task] = bytes;
    tidyAll(store);
    if (random() % 2 == 0) {
      const std::uint64_t victim = 1 + random() % task;
      store.forget(victim);
      kept.erase(victim);
    }
  }
  std::size_t dropped = 0;
  for (const auto& [task, bytes] : kept) {
    if (store.partsOf(task).note.empty()) {
      EXPECT_EQ(contentOf(store, task), bytes) << task;
    } else {
      ++dropped;
    }
  }
  EXPECT_GT(dropped, 100U);
  EXPECT_LT(dropped, kept.size());
  EXPECT_LE(store.usedBytes(), options_.totalBytes);
  EXPECT_LE(onDisk(), options_.totalBytes + (workers.size() + files()) * 2 * 4096);
  for (const auto& [task, bytes] : kept) store.forget(task);
  for (const auto& worker : workers) store.closeSegment(worker->segment.file);
  EXPECT_EQ(store.usedBytes(), 0U);
  EXPECT_EQ(files(), 0U);
}

TEST_F(LogStoreTest, logsOfAnEarlierDaemonAreRemovedBitByBit) {
  for (int daemon = 0; daemon < 3; ++daemon) {
    LogStore store(options_);
    for (int i = 0; i < 100; ++i) store.openSegment();
    fs::create_symlink("/etc", options_.directory + "/live/link");
  }
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "mine");
  EXPECT_GT(files(), 300U);
  ASSERT_TRUE(store.busy());
  store.tidy();
  EXPECT_GT(files(), 250U);
  tidyAll(store);
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(contentOf(store, 1), "mine");
  EXPECT_TRUE(fs::exists("/etc/passwd"));
}

TEST_F(LogStoreTest, removedFilesAreClosedWhereTheCallerSays) {
  { LogStore(options_).openSegment(); }
  std::vector<shm::Fd> handed;
  options_.close = [&](shm::Fd fd) { handed.push_back(std::move(fd)); };
  LogStore store(options_);
  Worker worker(store);
  tidyAll(store);
  EXPECT_EQ(handed.size(), 1U);
  run(store, worker, 1, "one");
  store.closeSegment(worker.segment.file);
  store.forget(1);
  ASSERT_EQ(handed.size(), 2U);
  struct stat status {};
  ASSERT_EQ(fstat(handed.back().get(), &status), 0);
  EXPECT_EQ(status.st_size, 3);
  EXPECT_EQ(files(), 0U);
}

TEST_F(LogStoreTest, whatCannotBeRemovedIsNotTriedForEver) {
  fs::create_directories(options_.directory + "/old-1/inner/deep");
  LogStore store(options_);
  Worker worker(store);
  tidyAll(store);
  EXPECT_TRUE(fs::exists(options_.directory + "/old-1/inner"));
}

TEST_F(LogStoreTest, aCleanEndLeavesNothing) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "one");
  store.removeAll();
  EXPECT_TRUE(fs::is_empty(options_.directory));
  EXPECT_EQ(store.usedBytes(), 0U);
  EXPECT_FALSE(store.busy());
}

TEST_F(LogStoreTest, aMissingParentIsANote) {
  options_.directory = root_ / "missing" / "logs";
  LogStore store(options_);
  const auto opened = store.openSegment();
  EXPECT_FALSE(opened.fd);
  EXPECT_EQ(opened.file, 0U);
  EXPECT_THAT(opened.note, HasSubstr("cannot be made: No such file or directory"));
  store.begin(1, opened.file, opened.note);
  EXPECT_TRUE(store.partsOf(1).running);
  store.finish(1, {});
  EXPECT_EQ(store.partsOf(1).note, opened.note);
  EXPECT_FALSE(store.busy());
  // Once it can be had, it is.
  fs::create_directory(root_ / "missing");
  EXPECT_TRUE(store.openSegment().fd);
}

TEST_F(LogStoreTest, aDirectoryThatIsNotOursIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  fs::create_directory(options_.directory);
  ASSERT_EQ(chown(options_.directory.c_str(), 65534, 65534), 0);
  LogStore store(options_);
  EXPECT_THAT(store.openSegment().note, HasSubstr("belongs to somebody else"));
}

TEST_F(LogStoreTest, aSymlinkIsNotFollowed) {
  fs::create_directory(root_ / "elsewhere");
  fs::create_symlink(root_ / "elsewhere", options_.directory);
  LogStore store(options_);
  EXPECT_FALSE(store.openSegment().fd);
  EXPECT_TRUE(fs::is_empty(root_ / "elsewhere"));
}

TEST_F(LogStoreTest, theDirectoryIsOursAlone) {
  fs::create_directory(options_.directory);
  ASSERT_EQ(chmod(options_.directory.c_str(), 0777), 0);
  LogStore store(options_);
  Worker worker(store);
  struct stat status {};
  ASSERT_EQ(stat(options_.directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  ASSERT_EQ(fstat(worker.segment.fd.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(LogStoreTest, filesThatSomebodyRemovedAreNotedAndReplaced) {
  LogStore store(options_);
  Worker worker(store);
  run(store, worker, 1, "one");
  fs::remove_all(options_.directory);
  run(store, worker, 2, "two");
  EXPECT_THAT(store.partsOf(1).note, HasSubstr("cannot be opened"));
  EXPECT_THAT(store.partsOf(2).note, HasSubstr("gone"));
  store.closeSegment(worker.segment.file);
  Worker next(store);
  ASSERT_TRUE(next.segment.fd) << next.segment.note;
  run(store, next, 3, "three");
  EXPECT_EQ(contentOf(store, 3), "three");
}

// A small file system of its own.
class FullDisk {
 public:
  FullDisk(const fs::path& where, const char* options) : where_(where) {
    fs::create_directory(where);
    mounted_ = mount("tmpfs", where.c_str(), "tmpfs", 0, options) == 0;
  }
  ~FullDisk() {
    if (mounted_) umount2(where_.c_str(), MNT_DETACH);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  bool mounted() const { return mounted_; }

 private:
  fs::path where_;
  bool mounted_ = false;
};

TEST_F(LogStoreTest, aFullDiskIsANote) {
  const FullDisk disk(root_ / "disk", "size=1m,nr_inodes=4");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs here";
  options_.directory = root_ / "disk" / "logs";
  LogStore store(options_);
  Worker worker(store);
  ASSERT_TRUE(worker.segment.fd) << worker.segment.note;
  Worker second(store);
  EXPECT_FALSE(second.segment.fd);
  EXPECT_THAT(second.segment.note, HasSubstr("No space left on device"));
  store.begin(1, worker.segment.file);
  const auto overflow = store.openOverflow(1);
  EXPECT_THAT(overflow.note, HasSubstr("No space left on device"));
  // The worker writes until the disk is full and cuts off what did not fit.
  const std::string bytes(900'000, 'x');
  Worker::append(worker.segment.fd, bytes);
  EXPECT_LT(::write(worker.segment.fd.get(), bytes.data(), bytes.size()), 900'000);
  store.finish(1, {.length = bytes.size()}, "no space left");
  EXPECT_EQ(contentOf(store, 1), bytes);
  store.forget(1);
  // All but the chunks in which the torn record and the next task's beginning are.
  EXPECT_LT(store.usedBytes(), 200'000U);
}

}  // namespace
}  // namespace baton::daemon
