#include "daemon/ids.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "ipc/error.h"
#include "shm/fd.h"

namespace baton::daemon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class IdsTest : public ::testing::Test {
 protected:
  IdsTest() {
    std::string path = ::testing::TempDir() + "idsXXXXXX";
    root_ = mkdtemp(path.data());
  }
  ~IdsTest() override { fs::remove_all(root_); }

  std::string file() const { return root_ / "ids"; }
  std::string content() const {
    std::ifstream in(file());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void setContent(const std::string& text) const { std::ofstream(file(), std::ios::trunc) << text; }

  fs::path root_;
};

TEST_F(IdsTest, beginAtOneAndGoOnAfterACleanEnd) {
  {
    IdCounter ids(root_);
    EXPECT_FALSE(fs::exists(file()));
    EXPECT_EQ(ids.take(), 1U);
    EXPECT_EQ(ids.take(), 2U);
    EXPECT_EQ(ids.take(1'000), 3U);
    EXPECT_EQ(ids.take(), 1'003U);
  }
  IdCounter ids(root_);
  EXPECT_EQ(ids.take(), 1'004U);
  ids.close();
  EXPECT_EQ(ids.take(), 1'005U);
}

TEST_F(IdsTest, unusedCounterWritesNothing) {
  { IdCounter ids(root_); }
  EXPECT_TRUE(fs::is_empty(root_));
}

TEST_F(IdsTest, everyUidHasItsOwn) {
  IdCounter one(root_, "ids-1000");
  IdCounter two(root_, "ids-1001");
  EXPECT_EQ(one.take(), 1U);
  EXPECT_EQ(two.take(), 1U);
}

TEST_F(IdsTest, theFileIsAsDocumented) {
  std::ofstream(root_ / "boot") << "11111111-2222-3333-4444-555555555555\n";
  IdCounter ids(root_, "ids", root_ / "boot");
  ids.take();
  ids.close();
  const std::string text = content();
  EXPECT_EQ(text.substr(0, 48), "baton-ids 00000000000000000065 71e84121146ca213\n");
  EXPECT_EQ(text.substr(512),
            "next 00000000000000000002 11111111-2222-3333-4444-555555555555 ef54980ac51dd1ae\n");
  struct stat status {};
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(IdsTest, afterAnotherBootNothingUnsyncedIsTrusted) {
  const std::string boot = root_ / "boot";
  std::ofstream(boot) << "11111111-2222-3333-4444-555555555555\n";
  {
    IdCounter ids(root_, "ids", boot);
    EXPECT_EQ(ids.take(), 1U);
  }
  EXPECT_EQ(IdCounter(root_, "ids", boot).take(), 2U);
  std::ofstream(boot) << "22222222-2222-3333-4444-555555555555\n";
  EXPECT_EQ(IdCounter(root_, "ids", boot).take(), 65U);
  EXPECT_EQ(IdCounter(root_, "ids", boot).take(), 66U);
  // Where the boot cannot be told, every start counts as another.
  const std::uint64_t first = IdCounter(root_, "ids", "/dev/null").take();
  EXPECT_GT(first, 66U);
  EXPECT_GT(IdCounter(root_, "ids", "/dev/null").take(), first);
}

TEST_F(IdsTest, aDamagedMarkSkipsToTheCeiling) {
  std::string good;
  {
    IdCounter ids(root_);
    ids.take(7);
    ids.close();
    good = content();
  }
  for (std::size_t at = 512; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] ^= 1;
    setContent(bad);
    EXPECT_EQ(IdCounter(root_).take(), 65U) << at;
    setContent(good.substr(0, at));
    EXPECT_EQ(IdCounter(root_).take(), 65U) << at;
  }
  setContent(good);
  EXPECT_EQ(IdCounter(root_).take(), 8U);
}

TEST_F(IdsTest, damageIsRefusedNeverTakenForAFreshStart) {
  std::string good;
  {
    IdCounter ids(root_);
    ids.take(7);
    ids.close();
    good = content();
  }
  constexpr std::size_t kCeilingBytes = 48;
  for (std::size_t at = 0; at < kCeilingBytes; ++at) {
    std::string bad = good;
    bad[at] ^= 1;
    setContent(bad);
    EXPECT_THROW(IdCounter{root_}, Error) << at;
    setContent(good.substr(0, at));
    EXPECT_THROW(IdCounter{root_}, Error) << at;
  }
  setContent("");
  try {
    IdCounter ids(root_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::refused);
    EXPECT_THAT(error.what(), HasSubstr(file() + " is damaged"));
  }
  EXPECT_EQ(content(), "");
  fs::remove(file());
  fs::create_symlink("/dev/null", file());
  EXPECT_THROW(IdCounter{root_}, Error);
}

TEST_F(IdsTest, endOfAllIdsIsRefused) {
  {
    IdCounter ids(root_);
    EXPECT_EQ(ids.take(IdCounter::kEnd - 3), 1U);
    EXPECT_THROW(ids.take(3), Error);
    EXPECT_THROW(ids.take(0), Error);
    EXPECT_EQ(ids.take(2), IdCounter::kEnd - 2);
    EXPECT_THROW(ids.take(), Error);
  }
  IdCounter ids(root_);
  EXPECT_THROW(ids.take(), Error);
}

// A child takes ids and says each to the parent, until it is killed in the middle of it.
std::uint64_t lastIdOfKilledChild(const std::string& directory, std::mt19937_64& random) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  shm::Fd in(ends[0]);
  shm::Fd out(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    try {
      IdCounter ids(directory);
      for (;;) {
        const std::uint64_t count = 1 + random() % 3;
        const std::uint64_t last = ids.take(count) + count - 1;
        if (write(out.get(), &last, sizeof last) != sizeof last) _exit(1);
      }
    } catch (const std::exception&) {
      _exit(2);
    }
  }
  out.reset();
  std::uint64_t last = 0;
  std::uint64_t wanted = 1 + random() % 300;
  while (wanted-- > 0 && read(in.get(), &last, sizeof last) == sizeof last) {
  }
  kill(child, SIGKILL);
  std::uint64_t rest = 0;
  while (read(in.get(), &rest, sizeof rest) == sizeof rest) last = rest;
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  return last;
}

TEST_F(IdsTest, killedAtAnyTimeNoIdIsGivenTwice) {
  std::mt19937_64 random(6);
  std::uint64_t last = 0;
  std::uint64_t given = 0;
  for (int round = 0; round < 60; ++round) {
    IdCounter ids(root_);
    const std::uint64_t id = ids.take();
    ASSERT_GT(id, last);
    ids.close();
    last = lastIdOfKilledChild(root_, random);
    ASSERT_GT(last, id);
    given += last - id;
  }
  // What a killed daemon skips.
  EXPECT_LE(IdCounter(root_).take(), given + given / 8 + 60 * 20);
}

// A raise that ends after close() would lower the ceiling of whoever has the file by then.
TEST_F(IdsTest, nothingIsWrittenAfterClose) {
  for (int round = 0; round < 200; ++round) {
    std::string closed;
    {
      IdCounter ids(root_);
      ids.take(40);
      ids.close();
      closed = content();
    }
    ASSERT_EQ(content(), closed) << "round " << round;
  }
}

TEST_F(IdsTest, aLeftTemporaryFileIsNoObstacle) {
  std::ofstream(file() + ".new") << "half";
  EXPECT_EQ(IdCounter(root_).take(), 1U);
  EXPECT_FALSE(fs::exists(file() + ".new"));
}

TEST_F(IdsTest, aRemovedFileIsMadeAgain) {
  IdCounter ids(root_);
  ids.take(5);
  fs::remove(file());
  EXPECT_EQ(ids.take(100), 6U);
  ids.close();
  EXPECT_EQ(IdCounter(root_).take(), 106U);
}

TEST_F(IdsTest, whatCannotBeWrittenGivesNoId) {
  IdCounter missing(root_ / "missing");
  EXPECT_THROW(missing.take(), Error);
  fs::create_directory(root_ / "missing");
  EXPECT_EQ(missing.take(), 1U);
}

TEST_F(IdsTest, aFullDiskGivesNoId) {
  const fs::path disk = root_ / "disk";
  fs::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "cannot mount a tmpfs here";
  {
    std::ofstream(disk / "filler") << std::string(1 << 20, 'x');
    IdCounter ids(disk);
    EXPECT_THROW(ids.take(), Error);
    fs::remove(disk / "filler");
    EXPECT_EQ(ids.take(), 1U);
    // Once it is there it needs no further space.
    std::ofstream(disk / "filler") << std::string(1 << 20, 'x');
    EXPECT_EQ(ids.take(10'000), 2U);
  }
  umount2(disk.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace baton::daemon
