#include "shm/memfd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

#include "tests/shm/child.h"

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

constexpr std::size_t kPayload = 64 << 10;
constexpr int kPayloadSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

// As a stranger makes one: `size` bytes, of which those from `hole` on are not there.
Fd payloadWithHole(std::size_t size, std::size_t hole, int seals = kPayloadSeals) {
  Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(::fallocate(fd.get(), 0, 0, static_cast<off_t>(size)), 0);
  if (hole < size) {
    EXPECT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(hole),
                          static_cast<off_t>(size - hole)),
              0);
  }
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

TEST(SealedPayload, isReadInPlace) {
  const auto bytes = pattern(kPayload + 5);
  const Fd fd = sealedMemfd(bytes);
  const auto mapping = mapSealedPayload(fd.get(), bytes.size());
  ASSERT_TRUE(mapping);
  EXPECT_EQ(std::memcmp(mapping->bytes().data(), bytes.data(), bytes.size()), 0);
  EXPECT_TRUE(mapSealedPayload(payloadWithHole(kPayload, kPayload).get(), kPayload));
}

TEST(SealedPayload, cannotBeWrittenByItsReader) {
  const Fd fd = sealedMemfd(pattern(kPayload));
  auto mapping = mapSealedPayload(fd.get(), kPayload);
  ASSERT_TRUE(mapping);
  EXPECT_EQ(::mprotect(mapping->bytes().data(), kPayload, PROT_READ | PROT_WRITE), -1);
}

TEST(SealedPayload, isRefusedIfItIsNotThereInFull) {
  for (const std::size_t hole : {std::size_t{0}, kPayload / 2, kPayload - 4096}) {
    EXPECT_FALSE(mapSealedPayload(payloadWithHole(kPayload, hole).get(), kPayload)) << hole;
  }
  Fd sparse(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(sparse.get(), off_t{4} << 30), 0);
  ASSERT_EQ(::fcntl(sparse.get(), F_ADD_SEALS, kPayloadSeals), 0);
  EXPECT_FALSE(mapSealedPayload(sparse.get(), std::size_t{4} << 30));
}

TEST(SealedPayload, isRefusedIfItHasNotTheSizeThatWasTold) {
  const Fd fd = payloadWithHole(kPayload, kPayload);
  for (const std::size_t size : {std::size_t{0}, kPayload - 1, kPayload + 1, SIZE_MAX}) {
    EXPECT_FALSE(mapSealedPayload(fd.get(), size)) << size;
  }
}

TEST(SealedPayload, isRefusedIfASealIsMissing) {
  constexpr int kAll[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL, F_SEAL_FUTURE_WRITE};
  for (int mask = 0; mask < 32; ++mask) {
    int seals = 0;
    for (int bit = 0; bit < 5; ++bit) seals |= (mask >> bit & 1) != 0 ? kAll[bit] : 0;
    const Fd fd = payloadWithHole(kPayload, kPayload, seals);
    EXPECT_EQ(mapSealedPayload(fd.get(), kPayload).has_value(), (mask & 7) == 7) << mask;
  }
}

// With FUTURE_WRITE alone who made it can still write, by a mapping from before.
TEST(SealedPayload, isRefusedIfItsMakerCanStillWrite) {
  const Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::fallocate(fd.get(), 0, 0, kPayload), 0);
  const Mapping writer(fd.get(), kPayload, Access::readWrite);
  ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE), 0);
  EXPECT_FALSE(mapSealedPayload(fd.get(), kPayload));
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST(SealedPayload, isRefusedOnHugePages) {
  // 2 MiB of them need not be there to make the file.
  const Fd fd(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB));
  if (!fd) GTEST_SKIP() << "no huge pages here: " << std::strerror(errno);
  constexpr std::size_t kHuge = 2 << 20;
  ASSERT_EQ(::ftruncate(fd.get(), kHuge), 0);
  ASSERT_EQ(::fcntl(fd.get(), F_ADD_SEALS, kPayloadSeals), 0);
  EXPECT_FALSE(mapSealedPayload(fd.get(), kHuge));
  EXPECT_FALSE(readSealedMemfd(fd.get(), kHuge));
}

TEST(SealedPayload, isRefusedIfItIsAnotherFile) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  std::fputs("hello", file);
  std::fflush(file);
  EXPECT_FALSE(mapSealedPayload(::fileno(file), 5));
  std::fclose(file);
  EXPECT_FALSE(mapSealedPayload(-1, 5));
  const Fd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(mapSealedPayload(zero.get(), 4096));
}

TEST(Memory, isAllThereAndKeepsItsSize) {
  constexpr std::size_t kSize = std::size_t{1} << 20;
  const Fd fd = createMemory(kSize);
  struct stat status {};
  ASSERT_EQ(::fstat(fd.get(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kSize));
  EXPECT_GE(static_cast<std::size_t>(status.st_blocks) * 512, kSize);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  EXPECT_NE(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(::ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(::ftruncate(fd.get(), kSize * 2), -1);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE), -1)
      << "no user of it takes writing from the others";
  const Mapping mapping(fd.get(), kSize, Access::readWrite);
  for (const std::byte byte : mapping.bytes()) ASSERT_EQ(byte, std::byte{0});
}

// The error of making so much memory, in a child that can make 1 GiB at most: without that, and without the
// check that is tested here, the kernel would kill whatever else runs.
int errorOfMaking(std::size_t size) {
  return Child([size] {
           constexpr rlim_t kLimit = 1 << 30;
           const rlimit limit{kLimit, kLimit};
           ::signal(SIGXFSZ, SIG_IGN);
           if (::setrlimit(RLIMIT_FSIZE, &limit) < 0) return 0;
           const int before = ::dup(STDERR_FILENO);
           try {
             createMemory(size);
           } catch (const std::system_error& error) {
             return ::dup(STDERR_FILENO) == before + 1 ? error.code().value() : 0;
           }
           return 0;
         })
      .wait();
}

TEST(Memory, thatIsNotToBeHadIsAnError) {
  EXPECT_EQ(errorOfMaking(0), EINVAL);
  for (const std::size_t size : {SIZE_MAX, SIZE_MAX / 2, std::size_t{1} << 62, std::size_t{1} << 44}) {
    EXPECT_EQ(errorOfMaking(size), ENOMEM) << size;
  }
  EXPECT_EQ(errorOfMaking((std::size_t{1} << 30) + 1), EFBIG) << "and it leaves no descriptor";
}

TEST(Memory, isReadOnlyForWhoGetsAReadOnlyDescriptor) {
  const Fd fd = createMemory(4096);
  const Fd reader = reopenReadOnly(fd.get());
  EXPECT_THROW(Mapping(reader.get(), 4096, Access::readWrite), std::system_error);
  EXPECT_EQ(::pwrite(reader.get(), "x", 1, 0), -1);
  Mapping seen(reader.get(), 4096, Access::readOnly);
  EXPECT_EQ(::mprotect(seen.bytes().data(), 4096, PROT_READ | PROT_WRITE), -1);
  const Mapping mapping(fd.get(), 4096, Access::readWrite);
  mapping.bytes()[9] = std::byte{3};
  EXPECT_EQ(seen.bytes()[9], std::byte{3});
  EXPECT_THROW(reopenReadOnly(-1), std::system_error);
}

// Another user cannot make it writable again through /proc, as the memory is its maker's.
TEST(Memory, anotherUserCannotOpenItAgain) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  const Fd fd = createMemory(4096);
  const Fd reader = reopenReadOnly(fd.get());
  Child child([&] {
    constexpr uid_t kNobody = 65534;
    if (::setresuid(kNobody, kNobody, kNobody) < 0) return 1;
    const std::string path = "/proc/self/fd/" + std::to_string(reader.get());
    return ::open(path.c_str(), O_RDWR) < 0 ? 0 : 2;
  });
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace baton::shm
