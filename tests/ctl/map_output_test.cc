#include "ctl/map/output.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "ipc/error.h"
#include "tests/ctl/map_peer.h"

namespace baton::ctl::map {
namespace {

using Stream = Output::Stream;

// What came through, in order; stderr is marked.
class Collected {
 public:
  Output::Sink sink() {
    return [this](int fd, std::string_view bytes) {
      (fd == 1 ? out : err) += bytes;
      both += bytes;
    };
  }
  std::string out;
  std::string err;
  std::string both;
};

OutputOptions options(bool keepOrder, bool tag = false) {
  OutputOptions made;
  made.keepOrder = keepOrder;
  made.tag = tag;
  made.temporaryDirectory = temporaryDirectory();
  return made;
}

TEST(MapOutput, GivesEachJobsStdoutThenStderrWhenItEnds) {
  Collected got;
  Output output(options(false), got.sink());
  output.begin(1);
  output.begin(2);
  output.write(1, Stream::out, "a1\n");
  output.write(2, Stream::err, "b2\n");
  output.write(2, Stream::out, "b1\n");
  output.write(1, Stream::out, "a2");
  EXPECT_EQ(got.both, "");
  EXPECT_EQ(output.end(2), 3u);
  EXPECT_EQ(got.both, "b1\nb2\n");
  EXPECT_EQ(output.end(1), 5u);
  EXPECT_EQ(got.both, "b1\nb2\na1\na2");
  EXPECT_EQ(output.openJobs(), 0u);
  EXPECT_EQ(output.heldBytes(), 0u);
}

TEST(MapOutput, KeepsTheOrderAndStreamsTheFirst) {
  Collected got;
  Output output(options(true), got.sink());
  for (int i = 1; i <= 3; ++i) output.begin(i);
  output.write(2, Stream::out, "b1 ");
  output.write(1, Stream::out, "a1 ");
  output.write(1, Stream::err, "A ");
  EXPECT_EQ(got.both, "a1 ") << "stderr waits, since stdout comes first";
  output.write(3, Stream::out, "c ");
  output.end(3);
  EXPECT_EQ(got.both, "a1 ");
  output.end(1);
  EXPECT_EQ(got.both, "a1 A b1 ") << "the second is first now";
  output.write(2, Stream::out, "b2 ");
  EXPECT_EQ(got.both, "a1 A b1 b2 ");
  output.end(2);
  EXPECT_EQ(got.both, "a1 A b1 b2 c ");
  EXPECT_EQ(output.openJobs(), 0u);
}

TEST(MapOutput, StartsAJobAnew) {
  OutputOptions retrying = options(true);
  retrying.streamHead = false;
  Collected got;
  Output output(retrying, got.sink());
  output.begin(1);
  output.write(1, Stream::out, "failed");
  output.restart(1);
  output.write(1, Stream::out, "ok");
  EXPECT_EQ(output.end(1), 2u);
  EXPECT_EQ(got.both, "ok");
}

TEST(MapOutput, LetsLaterJobsPassADiscardedOne) {
  Collected got;
  Output output(options(true), got.sink());
  for (int i = 1; i <= 3; ++i) output.begin(i);
  output.write(1, Stream::err, "gone");
  output.write(2, Stream::out, "gone");
  output.write(3, Stream::out, "c");
  output.end(3);
  output.discard(2);
  output.discard(1);
  EXPECT_EQ(got.both, "c");
  EXPECT_EQ(output.heldBytes(), 0u);
}

TEST(MapOutput, SpillsWhatIsTooMuchForMemoryAndLosesNothing) {
  Collected got;
  OutputOptions small = options(true, true);
  small.jobBytes = 1000;
  small.totalBytes = 5000;
  Output output(small, got.sink());
  constexpr int kJobs = 50;
  std::string expectedOut;
  std::string expectedErr;
  for (int job = 1; job <= kJobs; ++job) output.begin(job, std::to_string(job));
  for (int job = kJobs; job >= 1; --job) {
    std::string out;
    std::string err;
    for (int i = 0; i < 100; ++i) {
      const std::string line(static_cast<std::size_t>((job * 7 + i) % 60), 'x');
      output.write(job, Stream::out, line + "\n");
      out += std::to_string(job) + "\t" + line + "\n";
      if (i % 9 == 0) {
        output.write(job, Stream::err, line + "!\n");
        err += std::to_string(job) + "\t" + line + "!\n";
      }
      ASSERT_LE(output.heldBytes(), 5000u);
    }
    output.end(job);
    expectedOut.insert(0, out);
    expectedErr.insert(0, err);
  }
  EXPECT_EQ(got.out, expectedOut);
  EXPECT_EQ(got.err, expectedErr);
}

TEST(MapOutput, GivesDiskSpaceBack) {
  SpillFile file(temporaryDirectory());
  const std::string block(65536, 'x');
  const Extent first = file.append(block);
  const Extent second = file.append(block);
  file.release(first);
  std::string back(block.size(), '\0');
  EXPECT_EQ(file.read(second, 0, back.data(), back.size()), block.size());
  EXPECT_EQ(back, block);
  file.release(second);
  EXPECT_EQ(file.append(block).offset, 0u) << "an empty file starts again";
}

TEST(MapOutput, SaysThatTheTemporaryFileCannotGrow) {
  const auto message = [](const auto& action) -> std::string {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::system);
      return error.what();
    }
    return "";
  };
  OutputOptions small = options(false);
  small.jobBytes = 10;
  Collected got;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string full = message([&] {
    Output output(small, got.sink());
    output.begin(1);
    output.write(1, Stream::out, std::string(5000, 'x'));
  });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(full.find("TMPDIR"), std::string::npos) << full;

  small.temporaryDirectory = "/nonexistent";
  const std::string missing = message([&] {
    Output output(small, got.sink());
    output.begin(1);
    output.write(1, Stream::out, std::string(5000, 'x'));
  });
  EXPECT_NE(missing.find("/nonexistent"), std::string::npos) << missing;
}

// The jobs' stdout and stderr as bytes, and the shell command that writes them.
struct Script {
  std::string command;
  std::string out;
  std::string err;
};

TEST(MapOutput, TagsLinesAsParallel) {
  SKIP_WITHOUT_PARALLEL();
  using namespace std::string_literals;
  const std::vector<Script> scripts{
      {"printf 'a\\n\\n\\nb\\r\\nc\\0d\\n\\377\\n'", "a\n\n\nb\r\nc\0d\n\xff\n"s, ""},
      {"printf '10\\r20\\r30\\n'", "10\r20\r30\n", ""},
      {"printf 'a\\rb\\r'", "a\rb\r", ""},
      {"printf x", "x", ""},
      {"true", "", ""},
      {"printf 'o\\np'; printf 'e\\nf' >&2", "o\np", "e\nf"},
      {"printf '\\n'; printf y >&2", "\n", "y"}};
  std::vector<std::string> words{"--tag", ":::"};
  Collected whole;
  Collected byByte;
  Output first(options(true, true), whole.sink());
  Output second(options(true, true), byByte.sink());
  std::uint64_t sequence = 0;
  for (const Script& script : scripts) {
    words.push_back(script.command);
    ++sequence;
    for (Output* output : {&first, &second}) output->begin(sequence, script.command);
    first.write(sequence, Stream::out, script.out);
    first.write(sequence, Stream::err, script.err);
    for (const char c : script.out) second.write(sequence, Stream::out, {&c, 1});
    for (const char c : script.err) second.write(sequence, Stream::err, {&c, 1});
    for (Output* output : {&first, &second}) output->end(sequence);
  }
  const test::Outcome real = test::parallel(words);
  EXPECT_EQ(whole.out, real.out);
  EXPECT_EQ(whole.err, real.err);
  EXPECT_EQ(byByte.out, real.out);
  EXPECT_EQ(byByte.err, real.err);
}

}  // namespace
}  // namespace baton::ctl::map
