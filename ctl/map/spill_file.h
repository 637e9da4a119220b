// Where output waits that is too much for memory: one unlinked temporary file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shm/fd.h"

namespace baton::ctl::map {

struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

// Disk space follows what is held: a released extent is punched out of the file. Blocks as file I/O does. One
// thread.
class SpillFile {
 public:
  // Nothing is opened before the first append.
  explicit SpillFile(std::string directory) : directory_(std::move(directory)) {}

  // Throws Error(system) that names the directory and TMPDIR, e.g. for a full disk; then nothing was added.
  Extent append(std::string_view bytes);
  // Fills `into`, at most `capacity` bytes from `from` on within the extent; returns how many. Throws
  // Error(system).
  std::size_t read(const Extent& extent, std::uint64_t from, char* into, std::size_t capacity) const;
  // Every appended extent (or union of neighbours) is released once.
  void release(const Extent& extent);

 private:
  void open();
  [[noreturn]] void throwFull() const;

  std::string directory_;
  shm::Fd file_;
  std::uint64_t end_ = 0;
  std::uint64_t liveBytes_ = 0;
};

}  // namespace baton::ctl::map
