#include "ctl/map/record_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ipc/error.h"

namespace baton::ctl::map {
namespace {

// O_NONBLOCK: a FIFO opens before it has a writer, and poll(2) then waits for one.
shm::Fd openFile(const std::string& path) {
  shm::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat info {};
  if (file && ::fstat(file.get(), &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EISDIR;
    file.reset();
  }
  if (!file) throw Error(Code::usage, "cannot read the input file '" + path + "': " + std::strerror(errno));
  return file;
}

}  // namespace

RecordStream::RecordStream(const std::string& path, char delimiter, int stdinFd)
    : fd_(stdinFd), name_(path == "-" ? "stdin" : "'" + path + "'"), reader_(delimiter) {
  if (path == "-") return;
  owned_ = openFile(path);
  fd_ = owned_.get();
}

Pull RecordStream::next(std::string& record) {
  while (true) {
    if (auto complete = reader_.next()) {
      record = std::move(*complete);
      return Pull::record;
    }
    if (ended_) return Pull::end;
    if (!isReadable()) return Pull::wouldBlock;
    std::array<char, 65536> bytes;
    const ssize_t length = ::read(fd_, bytes.data(), bytes.size());
    if (length > 0) {
      reader_.feed({bytes.data(), static_cast<std::size_t>(length)});
    } else if (length == 0) {
      reader_.finish();
      ended_ = true;
    } else if (errno == EAGAIN) {
      return Pull::wouldBlock;
    } else if (errno != EINTR) {
      throwErrno("cannot read the input from " + name_);
    }
  }
}

bool RecordStream::isReadable() const {
  pollfd descriptor{fd_, POLLIN, 0};
  return ::poll(&descriptor, 1, 0) > 0;
}

}  // namespace baton::ctl::map
