#include "ctl/map/spill_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ipc/error.h"

namespace baton::ctl::map {

void SpillFile::open() {
  file_ = shm::Fd(::open(directory_.c_str(), O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (file_) return;
  std::string path = directory_ + "/baton-map-XXXXXX";
  file_ = shm::Fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!file_) throwFull();
  ::unlink(path.c_str());
}

Extent SpillFile::append(std::string_view bytes) {
  if (!file_) open();
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written =
        ::pwrite(file_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throwFull();
    done += static_cast<std::size_t>(written);
  }
  const Extent extent{end_, bytes.size()};
  end_ += bytes.size();
  liveBytes_ += bytes.size();
  return extent;
}

std::size_t SpillFile::read(const Extent& extent, std::uint64_t from, char* into,
                            std::size_t capacity) const {
  if (from >= extent.length) return 0;
  const std::size_t wanted = std::min<std::uint64_t>(capacity, extent.length - from);
  while (true) {
    const ssize_t got = ::pread(file_.get(), into, wanted, static_cast<off_t>(extent.offset + from));
    if (got > 0) return static_cast<std::size_t>(got);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0) throw Error(Code::system, "output kept in '" + directory_ + "' is gone: the file was cut");
    throwErrno("cannot read output kept in '" + directory_ + "'");
  }
}

void SpillFile::release(const Extent& extent) {
  if (extent.length == 0) return;
  liveBytes_ -= extent.length;
  // Giving back the space is best effort: a file system without holes keeps it until all is released.
  if (liveBytes_ == 0) {
    if (::ftruncate(file_.get(), 0) == 0) end_ = 0;
    return;
  }
  ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(extent.offset),
              static_cast<off_t>(extent.length));
}

void SpillFile::throwFull() const {
  throwErrno("cannot keep the output of jobs in '" + directory_ + "' (set TMPDIR to a directory with room)");
}

}  // namespace baton::ctl::map
