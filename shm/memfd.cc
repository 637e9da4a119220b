#include "shm/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace baton::shm {
namespace {

constexpr int kImmutable = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

// What Boost.Interprocess maps: anything with a get_mapping_handle.
class MappableFd {
 public:
  explicit MappableFd(int fd) : fd_(fd) {}
  boost::interprocess::mapping_handle_t get_mapping_handle() const { return {fd_, false}; }

 private:
  int fd_;
};

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Fd sealedMemfd(std::span<const std::byte> bytes) {
  Fd fd(::memfd_create("baton", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) fail("cannot create a memfd");
  if (::fchmod(fd.get(), 0600) < 0) fail("cannot protect a memfd");
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
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

std::optional<std::vector<std::byte>> readSealedMemfd(int fd, std::size_t sizeBytes) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kImmutable) != kImmutable) return std::nullopt;
  struct stat status {};
  if (::fstat(fd, &status) < 0 || status.st_size < 0 ||
      static_cast<std::size_t>(status.st_size) != sizeBytes) {
    return std::nullopt;
  }
  std::vector<std::byte> copy(sizeBytes);
  if (sizeBytes == 0) return copy;
  try {
    const MappableFd mappable(fd);
    const boost::interprocess::mapped_region region(mappable, boost::interprocess::read_only, 0, sizeBytes);
    std::memcpy(copy.data(), region.get_address(), sizeBytes);
  } catch (const boost::interprocess::interprocess_exception&) {
    return std::nullopt;
  }
  return copy;
}

}  // namespace baton::shm
