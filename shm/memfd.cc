#include "shm/memfd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>

#include <cerrno>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

namespace baton::shm {
namespace {

constexpr int kImmutable = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
// Not in Debian 12's headers. Kernels from 6.3 warn of a memfd without it, and refuse one where
// vm.memfd_noexec is 2; older ones do not know it.
constexpr unsigned kNoExecSeal = 0x8;
// st_blocks is in these, whatever the file system's own block is: stat(2).
constexpr std::uint64_t kStatBlockBytes = 512;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Fd makeMemfd() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd fd(::memfd_create("baton", kFlags | kNoExecSeal));
  if (!fd && errno == EINVAL) fd = Fd(::memfd_create("baton", kFlags));
  if (!fd) fail("cannot create a memfd");
  // They are born open to everybody, through /proc/PID/fd.
  if (::fchmod(fd.get(), 0600) < 0) fail("cannot protect a memfd");
  return fd;
}

// MemAvailable of /proc/meminfo; more than any size where that cannot be told.
std::uint64_t availableBytes() {
  constexpr std::string_view kKey = "MemAvailable:";
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    std::uint64_t kib = 0;
    if (key == kKey && meminfo >> kib) return kib * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::numeric_limits<std::uint64_t>::max();
}

// All pages now. Linux does not refuse what is too much, as memfds have no limit: it allocates until it kills
// processes that have nothing to do with it.
void allocate(int fd, std::size_t sizeBytes) {
  // What is small needs no look: it is refused in time, and rings are made often.
  constexpr std::size_t kSmall = std::size_t{4} << 20;
  if (sizeBytes > kSmall && sizeBytes > availableBytes()) {
    errno = ENOMEM;
    fail("cannot allocate shared memory");
  }
  // What can never be had is not tried: the kernel would take every page of the machine before it says no.
  struct sysinfo machine {};
  if (::sysinfo(&machine) < 0) fail("cannot ask for the machine's memory");
  if (sizeBytes > std::size_t{machine.totalram} * machine.mem_unit) {
    errno = ENOMEM;
    fail("cannot allocate shared memory");
  }
  const auto size = static_cast<off_t>(sizeBytes);
  if (::ftruncate(fd, size) < 0) fail("cannot size shared memory");
  while (::fallocate(fd, 0, 0, size) < 0) {
    if (errno != EINTR) fail("cannot allocate shared memory");
  }
}

// Of the content; the caller has looked at the seals.
bool isThereInFull(int fd, std::size_t sizeBytes) {
  struct statfs system {};
  if (::fstatfs(fd, &system) < 0 || system.f_type != TMPFS_MAGIC) return false;
  struct stat status {};
  if (::fstat(fd, &status) < 0 || status.st_size < 0) return false;
  if (static_cast<std::uint64_t>(status.st_size) != sizeBytes) return false;
  return static_cast<std::uint64_t>(status.st_blocks) * kStatBlockBytes >= sizeBytes;
}

bool isSealedPayload(int fd, std::size_t sizeBytes) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & kImmutable) == kImmutable && isThereInFull(fd, sizeBytes);
}

}  // namespace

Fd createMemory(std::size_t sizeBytes) {
  if (sizeBytes == 0) {
    errno = EINVAL;
    fail("cannot allocate no shared memory");
  }
  Fd fd = makeMemfd();
  allocate(fd.get(), sizeBytes);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
    fail("cannot seal shared memory");
  return fd;
}

Fd reopenReadOnly(int fd) {
  Fd opened(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened) fail("cannot open shared memory for reading");
  return opened;
}

Fd sealedMemfd(std::span<const std::byte> bytes) {
  Fd fd = makeMemfd();
  std::size_t done = 0;
  while (done < bytes.size()) {
    // Not by write(): whoever gets the descriptor may read it from the beginning.
    const ssize_t wrote =
        ::pwrite(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (wrote < 0) {
      if (errno == EINTR) continue;
      fail("cannot fill a memfd");
    }
    done += static_cast<std::size_t>(wrote);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kImmutable | F_SEAL_SEAL) < 0) fail("cannot seal a memfd");
  return fd;
}

bool isMemfd(int fd) {
  return ::fcntl(fd, F_GET_SEALS) >= 0;
}

std::optional<Mapping> mapSealedPayload(int fd, std::size_t sizeBytes) {
  if (sizeBytes == 0 || !isSealedPayload(fd, sizeBytes)) return std::nullopt;
  try {
    return Mapping(fd, sizeBytes, Access::readOnly);
  } catch (const std::system_error&) {
    return std::nullopt;
  }
}

std::optional<std::vector<std::byte>> readSealedMemfd(int fd, std::size_t sizeBytes) {
  if (sizeBytes == 0) {
    if (!isSealedPayload(fd, 0)) return std::nullopt;
    return std::vector<std::byte>();
  }
  const auto mapping = mapSealedPayload(fd, sizeBytes);
  if (!mapping) return std::nullopt;
  return std::vector<std::byte>(mapping->bytes().begin(), mapping->bytes().end());
}

}  // namespace baton::shm
