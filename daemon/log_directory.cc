#include "daemon/log_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "ipc/escape.h"

namespace baton::daemon {
namespace {

constexpr const char* kLive = "live";
constexpr const char* kOld = "old-";
// Bounds a call of sweep(): unlinking is quick, since the blocks are freed by Close.
constexpr std::size_t kFilesPerSweep = 16;

shm::Fd openDirectory(int at, const char* name) {
  return shm::Fd(::openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// At most `most` names in a directory that begin with `prefix`.
std::vector<std::string> namesIn(int directory, const std::string& prefix, std::size_t most) {
  std::vector<std::string> names;
  shm::Fd copy = openDirectory(directory, ".");
  if (!copy) return names;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(copy.get()), ::closedir);
  if (!entries) return names;
  (void)copy.release();  // closedir closes it
  while (names.size() < most) {
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && name.starts_with(prefix)) names.push_back(name);
  }
  return names;
}

std::string errorText() {
  return std::strerror(errno);
}

}  // namespace

LogDirectory::LogDirectory(std::string path, Close close)
    : path_(std::move(path)), close_(std::move(close)) {}

bool LogDirectory::discard(int directory, const std::string& name) const {
  // O_PATH holds the file without opening it, whatever it is.
  shm::Fd last(::openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (::unlinkat(directory, name.c_str(), 0) != 0) return false;
  if (close_) close_(std::move(last));
  return true;
}

// Removes some entries of `name`, and itself once it is empty; false: nothing could be removed.
bool LogDirectory::removeSome(const std::string& name) const {
  const shm::Fd directory = openDirectory(base_.get(), name.c_str());
  if (!directory) return ::unlinkat(base_.get(), name.c_str(), 0) == 0;
  bool removed = false;
  const std::vector<std::string> files = namesIn(directory.get(), "", kFilesPerSweep);
  for (const std::string& file : files) removed |= discard(directory.get(), file);
  if (files.size() < kFilesPerSweep) removed |= ::unlinkat(base_.get(), name.c_str(), AT_REMOVEDIR) == 0;
  return removed;
}

bool LogDirectory::setLiveAside(std::string& note) const {
  for (int n = 1; n < 10'000; ++n) {
    const std::string old = kOld + std::to_string(n);
    if (::renameat(base_.get(), kLive, base_.get(), old.c_str()) == 0 || errno == ENOENT) return true;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR) break;
  }
  note = "logs of an earlier daemon in " + ipc::escape(path_) + " cannot be moved: " + errorText();
  return false;
}

bool LogDirectory::prepare(std::string& note) {
  live_.reset();
  base_.reset();
  if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) {
    note = "the log directory " + ipc::escape(path_) + " cannot be made: " + errorText();
    return false;
  }
  base_ = openDirectory(AT_FDCWD, path_.c_str());
  struct stat status {};
  if (!base_ || ::fstat(base_.get(), &status) != 0) {
    note = "the log directory " + ipc::escape(path_) + " cannot be opened: " + errorText();
    return false;
  }
  if (status.st_uid != ::geteuid()) {
    note = "the log directory " + ipc::escape(path_) + " belongs to somebody else";
    return false;
  }
  if ((status.st_mode & 077) != 0 && ::fchmod(base_.get(), 0700) != 0) {
    note = "the log directory " + ipc::escape(path_) + " is open to others: " + errorText();
    return false;
  }
  if (!setLiveAside(note)) return false;
  swept_ = false;
  if (::mkdirat(base_.get(), kLive, 0700) == 0) live_ = openDirectory(base_.get(), kLive);
  if (!live_) note = "the log directory " + ipc::escape(path_) + "/live cannot be made: " + errorText();
  return static_cast<bool>(live_);
}

shm::Fd LogDirectory::create(const std::string& name, std::string& note) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!live_ && !prepare(note)) return {};
    constexpr int kFlags = O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    shm::Fd file(::openat(live_.get(), name.c_str(), kFlags, 0600));
    if (file) {
      note.clear();
      return file;
    }
    note = "no log file can be made in " + ipc::escape(path_) + ": " + errorText();
    if (errno != ENOENT) return {};
    live_.reset();  // somebody has removed the directory
  }
  return {};
}

shm::Fd LogDirectory::open(const std::string& name, std::string& note) const {
  shm::Fd file(::openat(live_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY));
  if (!file) note = "a log file cannot be opened: " + errorText();
  return file;
}

std::optional<LogDirectory::Size> LogDirectory::sizeOf(const std::string& name) const {
  struct stat status {};
  if (::fstatat(live_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  return Size{.bytes = static_cast<std::uint64_t>(status.st_size),
              .allocated = static_cast<std::uint64_t>(status.st_blocks) * 512};
}

bool LogDirectory::punch(const std::string& name, std::uint64_t from, std::uint64_t to) const {
  const shm::Fd file(::openat(live_.get(), name.c_str(), O_WRONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file) return false;
  return ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                     static_cast<off_t>(to - from)) == 0;
}

void LogDirectory::remove(const std::string& name) const {
  discard(live_.get(), name);
}

bool LogDirectory::sweep() {
  if (swept_ || !base_) return false;
  const std::vector<std::string> old = namesIn(base_.get(), kOld, 1);
  // What cannot be removed is left: trying for ever would help nobody.
  if (old.empty() || !removeSome(old.front())) swept_ = true;
  return !swept_;
}

void LogDirectory::removeAll() {
  if (!base_) return;
  live_.reset();
  while (removeSome(kLive)) {
  }
  while (sweep()) {
  }
}

}  // namespace baton::daemon
