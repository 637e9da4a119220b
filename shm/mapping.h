// A shared mapping of a memory file, owned. Any thread may use the memory; the object itself is not
// thread-safe.
//
// Invariants
// 1. A child of fork does not have the mapping (MADV_DONTFORK): it cannot write as its parent.
// 2. In a child the destructor unmaps nothing: the hole may be in use again.
// 3. The size is the caller's, never the file's: a file that is shorter than it says faults. Map foreign
// files
//    only after the checks of memfd.h.
// A death at any step leaves nothing: the mapping ends with the process, the file with its last user.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <stdexcept>
#include <type_traits>

#include "shm/fork_guard.h"

namespace baton::shm {

enum class Access { readOnly, readWrite };

class Mapping {
 public:
  Mapping();
  // The first `sizeBytes` of `fd`, which can be closed afterwards. Throws std::system_error.
  Mapping(int fd, std::size_t sizeBytes, Access access);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  explicit operator bool() const { return bytes_.data() != nullptr; }
  std::size_t size() const { return bytes_.size(); }
  // True: this process was forked since, and the memory is not here.
  bool inChild() const { return guard_.inChild(); }
  std::span<std::byte> bytes() const { return bytes_; }
  std::span<std::byte> bytes(std::size_t offset, std::size_t sizeBytes) const {
    if (offset > size() || sizeBytes > size() - offset) throw std::out_of_range("outside of a mapping");
    return bytes_.subspan(offset, sizeBytes);
  }
  // A structure of atomics in the memory, which begins as zeros.
  template <class T>
  T& at(std::size_t offset) const {
    static_assert(std::is_standard_layout_v<T> && std::is_trivially_destructible_v<T>);
    const auto where = bytes(offset, sizeof(T));
    if (reinterpret_cast<std::uintptr_t>(where.data()) % alignof(T) != 0)
      throw std::out_of_range("not aligned in a mapping");
    return *std::launder(reinterpret_cast<T*>(where.data()));
  }

 private:
  using Region = boost::interprocess::mapped_region;

  void unmap() noexcept;

  ForkGuard guard_;
  std::span<std::byte> bytes_;
  // Destroyed by hand, as a child must not; a region owns nothing but its addresses.
  union {
    Region region_;
  };
};

}  // namespace baton::shm
