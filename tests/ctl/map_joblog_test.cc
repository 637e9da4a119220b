#include "ctl/map/joblog.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "ipc/error.h"
#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

using std::chrono::milliseconds;

class MapJobLog : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "baton-map-joblog-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::string path(const std::string& name) const { return directory_ / name; }

  std::filesystem::path directory_;
};

JobLogEntry entry(std::uint64_t sequence, std::string command, JobEnd end = {}) {
  JobLogEntry made;
  made.sequence = sequence;
  made.started = milliseconds(1795225998373);
  made.runtime = milliseconds(202);
  made.stdoutBytes = 3;
  made.end = end;
  made.command = std::move(command);
  return made;
}

// Times differ from run to run: each digit of columns 3 and 4 is made a 9, the widths stay.
std::string withoutTimes(const std::string& log) {
  std::string masked;
  std::size_t column = 1;
  for (const char c : log) {
    if (c == '\t') ++column;
    if (c == '\n') column = 1;
    const bool isTime = (column == 3 || column == 4) && c >= '0' && c <= '9';
    masked += isTime ? '9' : c;
  }
  return masked;
}

TEST_F(MapJobLog, FormatsLikeParallel) {
  EXPECT_EQ(formatJobLogEntry(entry(7, "echo a\tb")),
            "7\t:\t1795225998.373\t     0.202\t0\t3\t0\t0\techo a\tb\n");
  JobLogEntry slow = entry(1, "x", {0, 0, true});
  slow.runtime = milliseconds(12345678);
  EXPECT_EQ(formatJobLogEntry(slow), "1\t:\t1795225998.373\t 12345.678\t0\t3\t-1\t15\tx\n");
}

TEST_F(MapJobLog, WritesTheSameFileAsParallel) {
  SKIP_WITHOUT_PARALLEL();
  const std::vector<std::string> lines{"printf abc",      "exit 3",        "exit 255",      "kill -9 $$",
                                       "printf 'a b'\n:", "printf 'x\ty'", "printf 'e' >&2"};
  std::vector<std::string> words{"-0", "--joblog", path("real"), ":::"};
  words.insert(words.end(), lines.begin(), lines.end());
  test::parallel(words);
  {
    JobLog log(path("ours"));
    std::uint64_t sequence = 0;
    const auto write = [&](const std::string& line, std::uint64_t bytes, JobEnd end) {
      JobLogEntry made = entry(++sequence, line, end);
      made.stdoutBytes = bytes;
      log.write(made);
    };
    write(lines[0], 3, {});
    write(lines[1], 0, {3, 0, false});
    write(lines[2], 0, {255, 0, false});
    write(lines[3], 0, {0, 9, false});
    write(lines[4], 3, {});
    write(lines[5], 3, {});
    write(lines[6], 0, {});
  }
  EXPECT_EQ(withoutTimes(read(path("ours"))), withoutTimes(read(path("real"))));
}

TEST_F(MapJobLog, TruncatesOrAppends) {
  { JobLog(path("log")).write(entry(1, "a")); }
  { JobLog('+' + path("log")).write(entry(2, "b")); }
  const std::string both = read(path("log"));
  EXPECT_TRUE(
      both.starts_with("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n1\t"));
  EXPECT_NE(both.find("a\n2\t:"), std::string::npos) << both;
  { JobLog log(path("log")); }
  EXPECT_EQ(read(path("log")), both.substr(0, both.find('\n') + 1));
  { JobLog('+' + path("new")).write(entry(1, "a")); }
  EXPECT_TRUE(read(path("new")).starts_with("1\t:"));
}

TEST_F(MapJobLog, SaysWhatItCannotWrite) {
  try {
    JobLog log(path("missing/log"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::usage);
    EXPECT_NE(std::string(error.what()).find("missing/log"), std::string::npos);
  }
  EXPECT_THROW(JobLog("/dev/full"), Error);
}

}  // namespace
}  // namespace baton::ctl::map
