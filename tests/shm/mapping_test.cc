#include "shm/mapping.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>

#include "shm/memfd.h"
#include "tests/shm/child.h"

namespace baton::shm {
namespace {

constexpr std::size_t kSize = 16384;

bool isMapped(const void* address) {
  unsigned char resident = 0;
  return ::mincore(const_cast<void*>(address), 1, &resident) == 0;
}

TEST(Mapping, showsTheSameMemoryToAll) {
  const Fd fd = createMemory(kSize);
  const Mapping one(fd.get(), kSize, Access::readWrite);
  const Mapping other(fd.get(), kSize, Access::readOnly);
  ASSERT_NE(one.bytes().data(), other.bytes().data());
  std::memset(one.bytes().data(), 7, kSize);
  EXPECT_EQ(std::memcmp(one.bytes().data(), other.bytes().data(), kSize), 0);
}

TEST(Mapping, outlivesItsDescriptor) {
  Fd fd = createMemory(kSize);
  const Mapping mapping(fd.get(), kSize, Access::readWrite);
  fd.reset();
  mapping.bytes()[kSize - 1] = std::byte{1};
}

TEST(Mapping, endsWithItsOwner) {
  const Fd fd = createMemory(kSize);
  const void* address = nullptr;
  {
    Mapping mapping(fd.get(), kSize, Access::readWrite);
    address = mapping.bytes().data();
    const Mapping moved = std::move(mapping);
    EXPECT_EQ(moved.bytes().data(), address);
    EXPECT_TRUE(isMapped(address));
    mapping = Mapping();
    EXPECT_TRUE(isMapped(address)) << "what was moved from owns nothing";
  }
  EXPECT_FALSE(isMapped(address));
  Mapping replaced(fd.get(), kSize, Access::readWrite);
  address = replaced.bytes().data();
  replaced = Mapping();
  EXPECT_FALSE(replaced);
  EXPECT_FALSE(isMapped(address));
}

TEST(Mapping, givesOutOnlyWhatItHas) {
  const Fd fd = createMemory(kSize);
  const Mapping mapping(fd.get(), kSize, Access::readWrite);
  using Word = std::atomic<std::uint64_t>;
  EXPECT_NO_THROW(static_cast<void>(mapping.at<Word>(kSize - 8)));
  EXPECT_THROW(static_cast<void>(mapping.at<Word>(kSize - 7)), std::out_of_range);
  EXPECT_THROW(static_cast<void>(mapping.at<Word>(4)), std::out_of_range) << "not aligned";
  EXPECT_THROW(static_cast<void>(mapping.at<Word>(SIZE_MAX - 7)), std::out_of_range);
  EXPECT_THROW(static_cast<void>(mapping.bytes(1, kSize)), std::out_of_range);
  EXPECT_THROW(static_cast<void>(mapping.bytes(kSize + 1, 0)), std::out_of_range);
  EXPECT_EQ(mapping.bytes(kSize, 0).size(), 0U);
}

TEST(Mapping, cannotBeOfNothing) {
  const Fd fd = createMemory(kSize);
  EXPECT_THROW(Mapping(fd.get(), 0, Access::readOnly), std::system_error);
  EXPECT_THROW(Mapping(-1, kSize, Access::readOnly), std::system_error);
}

// The address is there for others by then: the child has put something of its own into the hole.
TEST(Mapping, aChildHasNoneAndUnmapsNothing) {
  const Fd fd = createMemory(kSize);
  Mapping mapping(fd.get(), kSize, Access::readWrite);
  Child child([&] {
    void* hole = mapping.bytes().data();
    if (!mapping.inChild()) return 1;
    if (isMapped(hole)) return 2;
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    if (::mmap(hole, kSize, PROT_READ | PROT_WRITE, kFlags, -1, 0) != hole) return 3;
    std::memset(hole, 5, kSize);
    mapping = Mapping();
    if (!isMapped(hole)) return 4;
    { const Mapping own(fd.get(), kSize, Access::readWrite); }
    return isMapped(hole) ? 0 : 5;
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(mapping.inChild());
  EXPECT_EQ(mapping.bytes()[0], std::byte{0});
}

TEST(Mapping, aChildThatTouchesItDies) {
  const Fd fd = createMemory(kSize);
  Mapping mapping(fd.get(), kSize, Access::readWrite);
  Child child([&] {
    ::signal(SIGSEGV, SIG_DFL);
    mapping.bytes()[0] = std::byte{1};
    return 0;
  });
  EXPECT_EQ(child.wait(), 128 + SIGSEGV);
  EXPECT_EQ(mapping.bytes()[0], std::byte{0});
}

}  // namespace
}  // namespace baton::shm
