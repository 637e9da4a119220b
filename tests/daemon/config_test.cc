#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/config_keys.h"
#include "daemon/slots.h"
#include "ipc/error.h"

namespace baton::daemon {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string path = ::testing::TempDir() + "configXXXXXX";
    root_ = mkdtemp(path.data());
    fs::create_directory(dropIns());
  }
  ~ConfigTest() override { fs::remove_all(root_); }

  std::string mainFile() const { return root_ / "batond.toml"; }
  std::string dropIns() const { return root_ / "batond.d"; }
  void write(const std::string& text, const std::string& name = "batond.toml") const {
    std::ofstream(root_ / name) << text;
  }
  LoadedConfig load() const { return LoadedConfig::load(mainFile(), dropIns()); }
  Config values(const std::string& text) const {
    write(text);
    return load().values();
  }
  // The error of a main file of this text, without the directory.
  std::string errorOf(const std::string& text) const {
    write(text);
    try {
      load();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::usage);
      const std::string what = error.what();
      EXPECT_EQ(what.find_first_of("\n\x1b"), std::string::npos) << what;
      EXPECT_THAT(what, HasSubstr(root_.string()));
      return what.substr(root_.string().size() + 1);
    }
    return "loaded";
  }
  ConfigLine lineOf(const std::string& key) const {
    for (const ConfigLine& line : load().lines()) {
      if (line.key == key) return line;
    }
    return {};
  }

  fs::path root_;
};

TEST_F(ConfigTest, withoutFilesEverythingIsDefault) {
  fs::remove(dropIns());
  EXPECT_EQ(load().values(), Config{});
  for (const ConfigLine& line : load().lines()) EXPECT_EQ(line.source, "default");
  EXPECT_EQ(LoadedConfig::load("", "").values(), Config{});
  write("# nothing\n\n");
  EXPECT_EQ(load().values(), Config{});
}

TEST_F(ConfigTest, everyKeyIsRead) {
  const Config config = values(R"(slots = "-1"
io_tasks = 32
quantum = "20ms"
parked = 7
grace = 5
stop_timeout = "1m"
idle_exit = 0
worker_max_tasks = 100
worker_max_memory = "64M"
worker_idle = "1h30m"
queue_limit = 10
argument_bytes = "8M"
finished_keep = 0
finished_age = "1d"
finished_bytes = "1M"
context_bytes = 16777216
connections = 8
in_flight_bytes = "2M"
frame_bytes = "512K"
frame_fds = 3
descriptors = 20
ring_bytes = "1M"
locks = 11
queues = 12
queue_bytes = "3M"
log_per_task = "2M"
log_total = "100M"
cgroups = false
user_daemons = true
)");
  Config expected;
  expected.slots = "-1";
  expected.ioTasks = 32;
  expected.quantum = 20ms;
  expected.parked = 7;
  expected.grace = 5s;
  expected.stopTimeout = 1min;
  expected.idleExit = 0s;
  expected.workerMaxTasks = 100;
  expected.workerMaxMemory = 64 << 20;
  expected.workerIdle = 90min;
  expected.queueLimit = 10;
  expected.argumentBytes = 8 << 20;
  expected.finishedKeep = 0;
  expected.finishedAge = 24h;
  expected.finishedBytes = 1 << 20;
  expected.contextBytes = 16 << 20;
  expected.connections = 8;
  expected.inFlightBytes = 2 << 20;
  expected.frameBytes = 512 << 10;
  expected.frameFds = 3;
  expected.descriptors = 20;
  expected.ringBytes = 1 << 20;
  expected.locks = 11;
  expected.queues = 12;
  expected.queueBytes = 3 << 20;
  expected.logPerTask = 2 << 20;
  expected.logTotal = 100 << 20;
  expected.cgroups = false;
  expected.userDaemons = true;
  EXPECT_EQ(config, expected);
  // Every key was in that file: none is forgotten here or there.
  for (const ConfigLine& line : load().lines()) EXPECT_EQ(line.source, mainFile()) << line.key;
  EXPECT_EQ(diffConfig(Config{}, expected).size(), configKeys().size());
}

TEST_F(ConfigTest, slotsAreSpelledAsJobs) {
  EXPECT_EQ(values("slots = 8").slots, "8");
  EXPECT_EQ(values("slots = -4").slots, "-4");
  EXPECT_EQ(values("slots = '75%'").slots, "75%");
  EXPECT_EQ(values("slots = '+2'").slots, "+2");
}

TEST_F(ConfigTest, laterDropInsWin) {
  write("slots = 1\ngrace = 1\nparked = 1");
  write("slots = 2\ngrace = 2", "batond.d/10-site.toml");
  write("slots = 3", "batond.d/20-host.toml");
  write("slots = 4", "batond.d/30-off.toml.bak");
  write("slots = 5", "batond.d/.40-hidden.toml");
  const Config config = load().values();
  EXPECT_EQ(config.slots, "3");
  EXPECT_EQ(config.grace, 2s);
  EXPECT_EQ(config.parked, 1U);
  EXPECT_EQ(lineOf("slots").source, dropIns() + "/20-host.toml");
  EXPECT_EQ(lineOf("grace").source, dropIns() + "/10-site.toml");
  EXPECT_EQ(lineOf("parked").source, mainFile());
  EXPECT_EQ(lineOf("quantum").source, "default");
}

TEST_F(ConfigTest, anyErrorLoadsNothing) {
  write("slots = 3");
  write("slots = 2\nsolts = 4", "batond.d/10.toml");
  try {
    load();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), EndsWith("batond.d/10.toml:2: there is no key 'solts'; did you mean 'slots'?"));
  }
}

TEST_F(ConfigTest, errorsNameFileLineKeyAndWhatWasExpected) {
  EXPECT_EQ(errorOf("\n\nio-tasks = 1"),
            "batond.toml:3: there is no key 'io-tasks'; did you mean 'io_tasks'?");
  EXPECT_THAT(errorOf("frobnicate = 1"),
              HasSubstr("batond.toml:1: there is no key 'frobnicate'; keys are slots, io_tasks"));
  EXPECT_EQ(
      errorOf("slots = 1.5"),
      "batond.toml:1: slots = a number with a fraction: expected a number of slots as 8, -4, +2 or 75%");
  EXPECT_EQ(errorOf("slots = 0"),
            "batond.toml:1: slots = 0: expected a number of slots as 8, -4, +2 or 75%, at least one");
  EXPECT_EQ(errorOf("slots = \"a\\u001b[2J\""),
            "batond.toml:1: slots = \"a\\x1b[2J\": expected a number of slots as 8, -4, +2 or 75%");
  EXPECT_EQ(errorOf("grace = 1\nio_tasks = 0"),
            "batond.toml:2: io_tasks = 0: expected a whole number, from 1 to 65536");
  EXPECT_EQ(errorOf("io_tasks = '5'"),
            "batond.toml:1: io_tasks = \"5\": expected a whole number, from 1 to 65536");
  EXPECT_EQ(errorOf("io_tasks = -5"),
            "batond.toml:1: io_tasks = -5: expected a whole number, from 1 to 65536");
  EXPECT_EQ(
      errorOf("idle_exit = '1ms'"),
      "batond.toml:1: idle_exit = \"1ms\": expected a duration such as 90 (seconds), 500ms, 5m, 1h30m or 7d, "
      "from 1s to 365d, or 0");
  EXPECT_EQ(
      errorOf("grace = 1.5"),
      "batond.toml:1: grace = a number with a fraction: expected a duration such as 90 (seconds), 500ms, 5m, "
      "1h30m or 7d, from 0 to 1d");
  EXPECT_EQ(errorOf("log_total = '1GB'"),
            "batond.toml:1: log_total = \"1GB\": expected a size such as 512K, 64M or 2G, from 2M to 1P");
  EXPECT_EQ(errorOf("user_daemons = 1"), "batond.toml:1: user_daemons = 1: expected true or false");
  EXPECT_EQ(errorOf("slots = [1]"),
            "batond.toml:1: slots = an array: expected a number of slots as 8, -4, +2 or 75%");
  EXPECT_EQ(errorOf("[slots]\nx = 1"),
            "batond.toml:1: slots = a table: expected a number of slots as 8, -4, +2 or 75%");
  EXPECT_EQ(errorOf("slots = 1979-05-27"),
            "batond.toml:1: slots = a date or time: expected a number of slots as 8, -4, +2 or 75%");
  EXPECT_EQ(errorOf("log_total = '10M'"), "batond.toml: log_total (10M) is less than log_per_task (64M)");
  EXPECT_EQ(errorOf("log_per_task = '2G'"), "batond.toml: log_total (1G) is less than log_per_task (2G)");
}

TEST_F(ConfigTest, syntaxErrorsNameTheLine) {
  EXPECT_THAT(errorOf("slots = 1\nslots"), HasSubstr("batond.toml:2: syntax: "));
  EXPECT_THAT(errorOf("slots = 1\n\nslots = 2"), HasSubstr("batond.toml:3: syntax: "));
  EXPECT_THAT(errorOf("slots = \"unterminated"), HasSubstr("batond.toml:1: syntax: "));
  EXPECT_THAT(errorOf("= 1"), HasSubstr("batond.toml:1: syntax: "));
  EXPECT_THAT(errorOf("grace = 5\nparked = 2 3\n"), HasSubstr("batond.toml:2: syntax: "));
  EXPECT_THAT(errorOf("grace = 99999999999999999999"), HasSubstr("batond.toml:1: "));
  EXPECT_NE(errorOf(std::string("a\0b\x1b", 4)), "loaded");
  EXPECT_NE(errorOf("\xff\xfe"), "loaded");
  EXPECT_THAT(errorOf(std::string(2 << 20, '#')), HasSubstr("larger than 1M"));
  EXPECT_THAT(errorOf("a = " + std::string(50'000, '[')), HasSubstr("nested too deep"));
  std::string dotted;
  for (int i = 0; i < 100'000; ++i) dotted += "a.";
  EXPECT_THAT(errorOf(dotted + "a = 1"), HasSubstr("nested too deep"));
}

TEST_F(ConfigTest, whatCannotBeReadIsAnError) {
  fs::create_directory(mainFile());
  try {
    load();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::system);
    EXPECT_THAT(error.what(), HasSubstr("cannot read the configuration " + mainFile()));
  }
  fs::remove(mainFile());
  fs::create_symlink(mainFile(), mainFile());
  EXPECT_THROW(load(), Error);
}

TEST_F(ConfigTest, aFifoInItsPlaceDoesNotHang) {
  ASSERT_EQ(mkfifo(mainFile().c_str(), 0600), 0);
  EXPECT_EQ(load().values(), Config{});
}

TEST_F(ConfigTest, reloadSaysWhatChanged) {
  EXPECT_THAT(diffConfig(Config{}, Config{}), IsEmpty());
  const Config from = values("slots = 2\nquantum = '50ms'");
  const Config to = values("slots = 4\nquantum = 1\nlog_per_task = '32M'\nuser_daemons = true\ngrace = '1m'");
  EXPECT_THAT(diffConfig(from, to),
              ElementsAre("slots: 2 -> 4", "quantum: 50ms -> 1s (after a restart)", "grace: 10s -> 1m",
                          "log_per_task: 64M -> 32M (for workers started from now on)",
                          "user_daemons: false -> true (after a restart)"));
}

TEST(ConfigKeys, defaultsAreInRangeAndReadBack) {
  const Config config;
  for (const ConfigKey& key : configKeys()) {
    EXPECT_FALSE(key.meaning.empty()) << key.name;
    EXPECT_EQ(findConfigKey(key.name), &key);
    std::uint64_t value = key.least;
    if (const auto* count = std::get_if<std::uint64_t Config::*>(&key.member)) value = config.**count;
    if (const auto* time = std::get_if<std::chrono::nanoseconds Config::*>(&key.member)) {
      value = static_cast<std::uint64_t>((config.**time).count());
    }
    if (value == 0 && key.zeroToo) continue;
    EXPECT_GE(value, key.least) << key.name;
    EXPECT_LE(value, key.most) << key.name;
  }
  EXPECT_TRUE(parseSlots(config.slots));
}

}  // namespace
}  // namespace baton::daemon
