#include "ctl/context_source.h"

#include <capnp/serialize.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ipc/error.h"
#include "shm/memfd.h"

namespace baton::ctl {
namespace {

ipc::Surroundings withEnvironmentOf(std::size_t bytes) {
  ipc::Surroundings surroundings;
  surroundings.cwd = "/";
  constexpr std::size_t kEach = 1024;
  for (std::size_t i = 0; i < bytes / kEach; ++i) {
    surroundings.environment.push_back("V" + std::to_string(i) + "=" + std::string(kEach, 'x'));
  }
  return surroundings;
}

TEST(ContextSource, IsInlineWhenItIsSmall) {
  const auto surroundings = withEnvironmentOf(100 * 1024);
  ipc::Message message;
  auto source = message.frame().initSubmit().initContext();
  writeContextSource(surroundings, source, message);
  ASSERT_TRUE(source.isInline());
  EXPECT_EQ(message.takeFds().size(), 0U);
  EXPECT_EQ(ipc::readContext(source.getInline().asReader()).environment, surroundings.environment);
}

TEST(ContextSource, IsASealedMemfdWhenItIsLarge) {
  const auto surroundings = withEnvironmentOf(1024 * 1024);
  ipc::Message message;
  auto source = message.frame().initSubmit().initContext();
  writeContextSource(surroundings, source, message);
  ASSERT_TRUE(source.isMemfdBytes());
  EXPECT_EQ(message.frame().getFdCount(), 1);
  const auto fds = message.takeFds();
  ASSERT_EQ(fds.size(), 1U);
  const auto bytes = shm::readSealedMemfd(fds[0].get(), source.getMemfdBytes());
  ASSERT_TRUE(bytes);
  EXPECT_LE(bytes->size(), kMaxContextBytes);
  auto words = kj::heapArray<capnp::word>(bytes->size() / sizeof(capnp::word));
  std::memcpy(words.asBytes().begin(), bytes->data(), bytes->size());
  capnp::FlatArrayMessageReader reader(words);
  EXPECT_EQ(ipc::readContext(reader.getRoot<ipc::wire::Context>()).environment, surroundings.environment);
}

TEST(ContextSource, IsRefusedAboveItsLimit) {
  ipc::Message message;
  auto source = message.frame().initSubmit().initContext();
  try {
    writeContextSource(withEnvironmentOf(3 * 1024 * 1024), source, message);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Code::tooLarge);
  }
}

}  // namespace
}  // namespace baton::ctl
