#include "shm/mapping.h"

#include <sys/mman.h>

#include <boost/interprocess/exceptions.hpp>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace baton::shm {
namespace {

namespace interprocess = boost::interprocess;

// What Boost.Interprocess maps: anything with a get_mapping_handle.
class MappableFd {
 public:
  explicit MappableFd(int fd) : fd_(fd) {}
  interprocess::mapping_handle_t get_mapping_handle() const { return {fd_, false}; }

 private:
  int fd_;
};

interprocess::mapped_region mapRegion(int fd, std::size_t sizeBytes, Access access) {
  // Size 0 means "all of the file" there, which a foreign file could choose.
  if (sizeBytes == 0) throw std::system_error(EINVAL, std::generic_category(), "cannot map nothing");
  const auto mode = access == Access::readOnly ? interprocess::read_only : interprocess::read_write;
  try {
    return {MappableFd(fd), mode, 0, sizeBytes};
  } catch (const interprocess::interprocess_exception& error) {
    throw std::system_error(error.get_native_error(), std::generic_category(), "cannot map memory");
  }
}

}  // namespace

Mapping::Mapping() : region_() {}

Mapping::Mapping(int fd, std::size_t sizeBytes, Access access) : region_(mapRegion(fd, sizeBytes, access)) {
  if (::madvise(region_.get_address(), sizeBytes, MADV_DONTFORK) < 0) {
    const int error = errno;
    region_.~Region();
    throw std::system_error(error, std::generic_category(), "cannot keep memory from children");
  }
  bytes_ = {static_cast<std::byte*>(region_.get_address()), sizeBytes};
}

Mapping::Mapping(Mapping&& other) noexcept
    : guard_(other.guard_), bytes_(std::exchange(other.bytes_, {})), region_(std::move(other.region_)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  guard_ = other.guard_;
  bytes_ = std::exchange(other.bytes_, {});
  new (&region_) Region(std::move(other.region_));
  return *this;
}

Mapping::~Mapping() {
  unmap();
}

void Mapping::unmap() noexcept {
  if (!guard_.inChild()) region_.~Region();
}

}  // namespace baton::shm
