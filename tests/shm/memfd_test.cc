#include "shm/memfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

namespace baton::shm {
namespace {

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 131 + i / 251);
  return bytes;
}

// A memfd of one page that is there, with these seals.
Fd memfdSealed(int seals) {
  Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_TRUE(fd);
  EXPECT_EQ(::fallocate(fd.get(), 0, 0, 4096), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

TEST(Memfd, carriesItsBytes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096},
                                 std::size_t{4097}, std::size_t{2} << 20}) {
    const auto bytes = pattern(size);
    const Fd fd = sealedMemfd(bytes);
    EXPECT_EQ(readSealedMemfd(fd.get(), size), bytes) << size;
  }
}

TEST(Memfd, cannotBeChangedByWhoeverHasIt) {
  const auto bytes = pattern(100);
  const Fd fd = sealedMemfd(bytes);
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(::ftruncate(fd.get(), 4096), -1);
  EXPECT_EQ(::mmap(nullptr, 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(Memfd, isReadOnlyIfItCannotChange) {
  constexpr int kAll[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
  for (int mask = 0; mask < 8; ++mask) {
    int seals = 0;
    for (int bit = 0; bit < 3; ++bit) seals |= (mask >> bit & 1) != 0 ? kAll[bit] : 0;
    const Fd fd = memfdSealed(seals);
    EXPECT_EQ(readSealedMemfd(fd.get(), 4096).has_value(), mask == 7) << mask;
  }
}

TEST(Memfd, isReadOnlyIfItHasTheSizeThatWasTold) {
  const Fd fd = sealedMemfd(pattern(4096));
  for (const std::size_t size : {std::size_t{0}, std::size_t{4095}, std::size_t{4097}, SIZE_MAX}) {
    EXPECT_FALSE(readSealedMemfd(fd.get(), size).has_value()) << size;
  }
}

TEST(Memfd, anythingElseIsNone) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  const Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const Fd path(::open("/", O_PATH | O_CLOEXEC));
  for (const int fd : {reader.get(), writer.get(), file.get(), path.get(), -1}) {
    EXPECT_FALSE(isMemfd(fd)) << fd;
    EXPECT_FALSE(readSealedMemfd(fd, 0).has_value()) << fd;
  }
  EXPECT_TRUE(isMemfd(memfdSealed(0).get()));
}

}  // namespace
}  // namespace baton::shm
