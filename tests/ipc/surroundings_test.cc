#include "ipc/surroundings.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

capnp::Data::Reader dataOf(const std::string& text) {
  return {reinterpret_cast<const capnp::byte*>(text.data()), text.size()};
}

Surroundings example() {
  Surroundings surroundings;
  surroundings.environment = {"PATH=/bin", "EMPTY=", "ODD=a\nb\xff=\x1b[31m", "no equals sign", ""};
  surroundings.cwd = "/a dir/\xff\n";
  surroundings.umask = 027;
  surroundings.limits[RLIMIT_NOFILE] = {100, 200};
  surroundings.nice = -5;
  surroundings.ioPriority = 3 << 13 | 7;
  surroundings.affinity = {3, 0, 128};
  surroundings.ignoredSignals = std::uint64_t{1} << 63 | 1;
  return surroundings;
}

void expectEqual(const Surroundings& a, const Surroundings& b) {
  EXPECT_EQ(a.environment, b.environment);
  EXPECT_EQ(a.cwd, b.cwd);
  EXPECT_EQ(a.umask, b.umask);
  for (std::size_t i = 0; i < a.limits.size(); ++i) {
    EXPECT_EQ(a.limits[i].soft, b.limits[i].soft) << i;
    EXPECT_EQ(a.limits[i].hard, b.limits[i].hard) << i;
  }
  EXPECT_EQ(a.nice, b.nice);
  EXPECT_EQ(a.ioPriority, b.ioPriority);
  EXPECT_EQ(a.affinity, b.affinity);
  EXPECT_EQ(a.ignoredSignals, b.ignoredSignals);
}

// The code with which the context is refused that `spoil` made of a good one.
template <typename Spoil>
Code codeOf(Spoil spoil) {
  capnp::MallocMessageBuilder message;
  auto context = message.initRoot<wire::Context>();
  writeContext(example(), context);
  spoil(context);
  try {
    readContext(context.asReader());
  } catch (const Error& error) {
    return error.code();
  }
  return Code::ok;
}

TEST(Surroundings, travelUnchanged) {
  capnp::MallocMessageBuilder message;
  writeContext(example(), message.initRoot<wire::Context>());
  expectEqual(readContext(message.getRoot<wire::Context>().asReader()), example());
}

TEST(Surroundings, ofThisProcessTravelUnchanged) {
  capnp::MallocMessageBuilder message;
  const Surroundings mine = captureSurroundings();
  writeContext(mine, message.initRoot<wire::Context>());
  expectEqual(readContext(message.getRoot<wire::Context>().asReader()), mine);
}

TEST(Surroundings, areThoseOfThisProcess) {
  const auto cwd = std::filesystem::current_path();
  const mode_t before = ::umask(013);
  std::filesystem::current_path("/usr");
  ::signal(SIGUSR2, SIG_IGN);
  ::setenv("BATON_TEST_ENTRY", "a\nb", 1);
  const Surroundings mine = captureSurroundings();
  std::filesystem::current_path(cwd);
  ::signal(SIGUSR2, SIG_DFL);
  EXPECT_EQ(::umask(before), 013U) << "looking changes nothing";
  EXPECT_EQ(mine.umask, 013U);
  EXPECT_EQ(mine.cwd, "/usr");
  EXPECT_STREQ(environmentValue(mine, "BATON_TEST_ENTRY"), "a\nb");
  EXPECT_NE(mine.ignoredSignals >> (SIGUSR2 - 1) & 1, 0U);
  EXPECT_EQ(mine.ignoredSignals >> (SIGUSR1 - 1) & 1, 0U);
  EXPECT_FALSE(mine.affinity.empty());
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  EXPECT_EQ(mine.limits[RLIMIT_NOFILE].soft, files.rlim_cur);
  EXPECT_EQ(mine.limits[RLIMIT_NOFILE].hard, files.rlim_max);
}

TEST(Surroundings, cannotBeCapturedInADeletedDirectory) {
  const auto cwd = std::filesystem::current_path();
  char path[] = "/tmp/baton-surroundings-XXXXXX";
  ASSERT_NE(::mkdtemp(path), nullptr);
  std::filesystem::current_path(path);
  ::rmdir(path);
  EXPECT_THROW(captureSurroundings(), Error);
  std::filesystem::current_path(cwd);
}

TEST(Surroundings, variablesAreFoundByTheirWholeName) {
  Surroundings surroundings;
  surroundings.environment = {"PATHS=x", "PATH=/bin", "PATH=/second", "E="};
  EXPECT_STREQ(environmentValue(surroundings, "PATH"), "/bin");
  EXPECT_STREQ(environmentValue(surroundings, "E"), "");
  EXPECT_EQ(environmentValue(surroundings, "PAT"), nullptr);
  EXPECT_EQ(environmentValue(surroundings, "NONE"), nullptr);
  setEnvironment(surroundings, "PATH", "/usr/bin");
  setEnvironment(surroundings, "NEW", "a=b");
  EXPECT_STREQ(environmentValue(surroundings, "PATH"), "/usr/bin");
  EXPECT_STREQ(environmentValue(surroundings, "NEW"), "a=b");
  unsetEnvironment(surroundings, "PATH");
  EXPECT_EQ(surroundings.environment, (std::vector<std::string>{"PATHS=x", "E=", "NEW=a=b"}));
}

TEST(Surroundings, ofAHostileClientAreRefused) {
  using Context = wire::Context::Builder;
  EXPECT_EQ(codeOf([](Context) {}), Code::ok);
  EXPECT_EQ(codeOf([](Context c) { c.initEnvironment(1).set(0, dataOf(std::string("A=\0b", 4))); }),
            Code::protocol);
  EXPECT_EQ(codeOf([](Context c) { c.setCwd(dataOf(std::string("/a\0b", 4))); }), Code::protocol);
  EXPECT_EQ(codeOf([](Context c) { c.setCwd(dataOf("relative")); }), Code::protocol);
  EXPECT_EQ(codeOf([](Context c) { c.setCwd(dataOf("")); }), Code::protocol);
  EXPECT_EQ(codeOf([](Context c) { c.initLimits(RLIM_NLIMITS + 1); }), Code::protocol);
  EXPECT_EQ(codeOf([](Context c) { c.initAffinity(1025); }), Code::protocol);
}

TEST(Surroundings, numbersOutOfRangeAreCutToTheirRange) {
  capnp::MallocMessageBuilder message;
  auto context = message.initRoot<wire::Context>();
  context.setCwd(dataOf("/"));
  context.setUmask(0xffff);
  context.setNice(127);
  const auto high = readContext(context.asReader());
  EXPECT_EQ(high.umask, 0777U);
  EXPECT_EQ(high.nice, 19);
  context.setNice(-128);
  EXPECT_EQ(readContext(context.asReader()).nice, -20);
  EXPECT_EQ(high.limits[RLIMIT_CORE].hard, RLIM_INFINITY) << "what is not told is not limited";
}

}  // namespace
}  // namespace baton::ipc
