#include "ctl/map/input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "ctl/map/template.h"
#include "ipc/error.h"
#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

using Words = std::vector<std::string>;

// A directory with two files of lines and an empty one, as the current one.
class MapInput : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "baton-map-input-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(directory_);
    write("abc", "a\nb\nc\n");
    write("xy", "x\ny");
    write("empty", "");
  }
  void TearDown() override {
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(directory_);
  }
  static void write(const std::string& name, const std::string& content) {
    std::ofstream(name, std::ios::binary) << content;
  }

  std::filesystem::path directory_;
  std::filesystem::path before_;
};

std::vector<Arguments> all(Input& input) {
  std::vector<Arguments> jobs;
  Arguments arguments;
  Pull pull = Pull::record;
  while ((pull = input.next(arguments)) == Pull::record) jobs.push_back(arguments);
  EXPECT_EQ(pull, Pull::end);
  return jobs;
}

// What `map WORDS --dry-run` prints with `input` on stdin.
std::string dryRun(const Words& words, const std::string& input, char delimiter = '\n',
                   const Words& files = {}) {
  const CommandLine line = splitCommandLine(words, files);
  const shm::Fd in = test::temporaryFile(input);
  Input source(line.sources, {delimiter, in.get()});
  const Template command(line.command);
  std::string printed;
  std::uint64_t sequence = 0;
  for (const Arguments& arguments : all(source)) printed += command.render(arguments, ++sequence, 1) + "\n";
  EXPECT_EQ(source.total(), sequence);
  return printed;
}

TEST_F(MapInput, YieldsRecordsAsTheyComeThroughAPipe) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const shm::Fd in(ends[0]);
  shm::Fd out(ends[1]);
  Input input(splitCommandLine({"echo"}).sources, {'\n', in.get()});
  EXPECT_TRUE(input.readsStdin());
  Arguments arguments;
  EXPECT_EQ(input.next(arguments), Pull::wouldBlock);
  EXPECT_EQ(input.waitFd(), in.get());
  ASSERT_EQ(::write(out.get(), "one\ntw", 6), 6);
  ASSERT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(arguments, Arguments{"one"});
  EXPECT_EQ(input.next(arguments), Pull::wouldBlock);
  EXPECT_EQ(input.total(), std::nullopt);
  ASSERT_EQ(::write(out.get(), "o", 1), 1);
  out.reset();
  ASSERT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(arguments, Arguments{"two"});
  EXPECT_EQ(input.next(arguments), Pull::end);
  EXPECT_EQ(input.next(arguments), Pull::end);
  EXPECT_EQ(input.total(), 2u);
  EXPECT_EQ(::fcntl(in.get(), F_GETFL) & O_NONBLOCK, 0) << "others may share stdin";
}

TEST_F(MapInput, ReadsNoFurtherThanItIsAsked) {
  const shm::Fd file = test::temporaryFile();
  ASSERT_EQ(::ftruncate(file.get(), 1 << 30), 0);
  Input huge(splitCommandLine({"echo"}).sources, {'\0', file.get()});
  Arguments arguments;
  for (int i = 0; i < 100000; ++i) ASSERT_EQ(huge.next(arguments), Pull::record);
  EXPECT_EQ(arguments, Arguments{""});
  EXPECT_LT(::lseek(file.get(), 0, SEEK_CUR), 200000);
}

TEST_F(MapInput, ReadsAheadToKnowTheTotal) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const shm::Fd in(ends[0]);
  shm::Fd out(ends[1]);
  Input input(splitCommandLine({"echo", "::::", "-", ":::", "x", "y"}).sources,
              {.stdinFd = in.get(), .readAheadBytes = 1 << 20});
  Arguments arguments;
  ASSERT_EQ(::write(out.get(), "1\n2\n3\n", 6), 6);
  ASSERT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(input.readAhead(), in.get()) << "to be polled: more may come";
  EXPECT_EQ(input.total(), std::nullopt);
  out.reset();
  EXPECT_EQ(input.readAhead(), -1);
  EXPECT_EQ(input.total(), 6u);
  std::vector<Arguments> rest;
  while (input.next(arguments) == Pull::record) rest.push_back(arguments);
  EXPECT_EQ(rest, (std::vector<Arguments>{{"1", "y"}, {"2", "x"}, {"2", "y"}, {"3", "x"}, {"3", "y"}}));
  EXPECT_EQ(input.total(), 6u);
}

TEST_F(MapInput, ReadsAheadNoFurtherThanItMay) {
  const shm::Fd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  Input endless(splitCommandLine({"echo"}).sources,
                {.delimiter = '\0', .stdinFd = zeros.get(), .readAheadBytes = 1000});
  EXPECT_EQ(endless.readAhead(), -1);
  Arguments arguments;
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(endless.next(arguments), Pull::record);
  EXPECT_EQ(endless.total(), std::nullopt);
}

TEST_F(MapInput, CountsBeforeTheFirstJobIfAsked) {
  const shm::Fd in = test::temporaryFile("1\n2\n3\n");
  Input input(splitCommandLine({"echo"}).sources, {.stdinFd = in.get(), .countFirst = true});
  Arguments arguments;
  ASSERT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(arguments, Arguments{"1"});
  EXPECT_EQ(input.total(), 3u);
  EXPECT_TRUE(input.readsStdin());
  const shm::Fd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  Input endless(splitCommandLine({"echo"}).sources,
                {.delimiter = '\0', .stdinFd = zeros.get(), .heldBytes = 100'000, .countFirst = true});
  EXPECT_THROW(static_cast<void>(endless.next(arguments)), Error);
}

TEST_F(MapInput, CombinesAnEndlessFirstSourceWithOthers) {
  const shm::Fd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  Input endless(splitCommandLine({"echo", "::::", "-", "xy", ":::", "1", "2"}).sources, {'\0', zeros.get()});
  Arguments arguments;
  for (int i = 0; i < 4; ++i) ASSERT_EQ(endless.next(arguments), Pull::record);
  EXPECT_EQ(arguments, (Arguments{"", "x\ny", "2"})) << "two records of one value, each with 1 and 2";
}

TEST_F(MapInput, RefusesARecordWithoutEnd) {
  RecordReader reader('\n');
  const std::string piece(65536, 'x');
  for (int i = 0; i < 16; ++i) {
    reader.feed(piece);
    EXPECT_EQ(reader.next(), std::nullopt);
  }
  reader.feed("x");
  EXPECT_THROW(reader.next(), Error);
}

TEST_F(MapInput, TakesTheLongestRecord) {
  RecordReader reader('\n');
  reader.feed(std::string(kMaxRecordBytes, 'x') + "\nshort");
  EXPECT_EQ(reader.next()->size(), kMaxRecordBytes);
  EXPECT_EQ(reader.next(), std::nullopt);
  reader.finish();
  EXPECT_EQ(reader.next(), "short");
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST_F(MapInput, WaitsForAWriterOfAFifo) {
  ASSERT_EQ(::mkfifo("fifo", 0600), 0);
  Input input(splitCommandLine({"echo"}, {"fifo"}).sources);
  Arguments arguments;
  EXPECT_EQ(input.next(arguments), Pull::wouldBlock);
  {
    const shm::Fd writer(::open("fifo", O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::write(writer.get(), "a\n", 2), 2);
  }
  EXPECT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(input.next(arguments), Pull::end);
}

TEST_F(MapInput, KeepsValuesWithNewlinesWhole) {
  Input input(splitCommandLine({"echo", ":::", "a\nb"}).sources);
  EXPECT_EQ(all(input), std::vector<Arguments>{{"a\nb"}});
  EXPECT_FALSE(input.readsStdin());
}

TEST_F(MapInput, SaysWhichFileCannotBeRead) {
  for (const std::string name : {"missing", "."}) {
    try {
      Input input(splitCommandLine({"echo"}, {name}).sources);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::usage);
      EXPECT_NE(std::string(error.what()).find("'" + name + "'"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(Input(splitCommandLine({"echo", "::::", "-", "-"}).sources), Error);
}

TEST_F(MapInput, BoundsWhatItHolds) {
  const shm::Fd zeros(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  Input input(splitCommandLine({"echo", ":::", "a", "::::", "-"}).sources, {'\0', zeros.get(), 1 << 20});
  Arguments arguments;
  EXPECT_THROW(input.next(arguments), Error);
}

TEST_F(MapInput, CountsWithoutReadingWhatItKnows) {
  Input input(splitCommandLine({"echo", ":::", "a", "b", ":::", "1", "2", "3"}).sources);
  Arguments arguments;
  ASSERT_EQ(input.next(arguments), Pull::record);
  EXPECT_EQ(input.total(), 6u);
}

TEST_F(MapInput, CombinesSourcesAsParallel) {
  SKIP_WITHOUT_PARALLEL();
  const std::vector<Words> cases{{"echo", ":::", "a", "b", ":::", "1", "2", ":::", "x", "y"},
                                 {"echo", ":::", "a", "b", "c", ":::+", "1", "2", ":::", "x", "y"},
                                 {"echo", "::::", "abc", "xy"},
                                 {"echo", ":::", "a", "b", "::::", "xy"},
                                 {"echo", ":::", "a", "b", "::::+", "abc"},
                                 {"echo", "::::", "-", "xy"},
                                 {"echo", "::::", "xy", "-"},
                                 {"echo", "::::", "xy", "::::", "-", ":::+", "8", "9"},
                                 {"echo", ":::"},
                                 {"echo", ":::", ":::"},
                                 {"echo", ":::", "a", "b", ":::"},
                                 {"echo", ":::", ":::", "a", "b"},
                                 {"echo", ":::+", "a", "b"},
                                 {"echo", ":::", "a", ":::+"},
                                 {"echo", "::::", "empty", "empty"},
                                 {"echo", "::::", "empty", "xy"},
                                 {"echo", "::::", "xy", "empty"},
                                 {":::", "echo {}", "x y", ":::", "$HOME"},
                                 {"echo", "{2}", "{1}", ":::", "a b", "", ":::", "c:::d"}};
  for (const Words& words : cases) {
    Words dry{"--dry-run"};
    dry.insert(dry.end(), words.begin(), words.end());
    const std::string stdinText = "l1\nl 2\n";
    EXPECT_EQ(dryRun(words, stdinText), test::parallel(dry, stdinText).out) << testing::PrintToString(words);
  }
  const Words dry{"--dry-run", "-a", "abc", "-a", "xy", "echo", ":::+", "1", "2"};
  EXPECT_EQ(dryRun({"echo", ":::+", "1", "2"}, "", '\n', {"abc", "xy"}), test::parallel(dry).out);
}

TEST_F(MapInput, SplitsLinesAsParallel) {
  SKIP_WITHOUT_PARALLEL();
  using namespace std::string_literals;
  for (const std::string& text : {"a\n\nb\n"s, "a\nb"s, "\n"s, ""s, "a\r\nb\r\n"s, " a \n\tb\t\n"s,
                                  "a\\\nb\n"s, "\xff\xfe\n\xc3\xa9\n\x80"s, "\n\n\n"s, "a\0b\nc\0"s}) {
    EXPECT_EQ(dryRun({"echo", "x{}x"}, text), test::parallel({"--dry-run", "echo", "x{}x"}, text).out)
        << testing::PrintToString(text);
  }
  for (const std::string& text : {"a\nb\0c\0\0d"s, "\0"s, "a\0"s, "\n\0\n"s}) {
    EXPECT_EQ(dryRun({"echo", "x{}x"}, text, '\0'),
              test::parallel({"-0", "--dry-run", "echo", "x{}x"}, text).out)
        << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace baton::ctl::map
