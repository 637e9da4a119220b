#include "daemon/ids.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <string_view>

#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::daemon {
namespace {

constexpr std::uint64_t kLeastRaise = 64;
constexpr std::uint64_t kMostRaise = 65'536;
// A mark costs a write to the page cache, two microseconds; a killed daemon skips at most so many ids: one in
// eight of those that it gave.
constexpr std::uint64_t kLeastMarkStep = 16;
constexpr std::uint64_t kMostMarkStep = 1'024;

// The file: the ceiling's line at 0, the mark's at 512. A line is "NAME NUMBER [BOOT] CHECKSUM\n", all of
// fixed length.
constexpr off_t kMarkAt = 512;
constexpr std::string_view kCeilingName = "baton-ids";
constexpr std::string_view kMarkName = "next";
constexpr std::size_t kDigits = 20;

// FNV-1a: tells a damaged line, nothing more.
std::uint64_t checksum(std::string_view text) {
  std::uint64_t hash = 14'695'981'039'346'656'037ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211ULL;
  return hash;
}

std::string lineOf(std::string_view name, std::uint64_t number, const std::string& boot = {}) {
  char text[32];
  std::string line(name);
  std::snprintf(text, sizeof text, " %020llu", static_cast<unsigned long long>(number));
  line += text;
  if (!boot.empty()) line += " " + boot;
  std::snprintf(text, sizeof text, " %016llx\n", static_cast<unsigned long long>(checksum(line)));
  return line + text;
}

// The number of the line that `text` begins with; 0: it is not exactly as lineOf makes it.
std::uint64_t numberIn(std::string_view text, std::string_view name, const std::string& boot = {}) {
  if (text.size() < name.size() + 1 + kDigits) return 0;
  std::uint64_t number = 0;
  const char* digits = text.data() + name.size() + 1;
  std::from_chars(digits, digits + kDigits, number);
  return number <= IdCounter::kEnd && text.starts_with(lineOf(name, number, boot)) ? number : 0;
}

std::string bootId(const std::string& file) {
  std::string id;
  std::getline(std::ifstream(file), id);
  constexpr std::size_t kUuidBytes = 36;
  return id.size() == kUuidBytes ? id : std::string();
}

[[noreturn]] void cannot(const char* what, const std::string& path) {
  throwErrno(std::string("no new ids: cannot ") + what + " " + ipc::escape(path));
}

void writeAt(int file, off_t at, const std::string& line, const std::string& path) {
  if (::pwrite(file, line.data(), line.size(), at) != static_cast<ssize_t>(line.size()))
    cannot("write", path);
}

}  // namespace

IdCounter::IdCounter(std::string directory, const std::string& name, const std::string& bootIdFile)
    : directory_(std::move(directory)), path_(directory_ + "/" + name), boot_(bootId(bootIdFile)) {
  file_ = shm::Fd(::open(path_.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file_) {
    load();
  } else if (errno != ENOENT) {
    throwErrno("cannot open the file of ids " + ipc::escape(path_));
  }
}

void IdCounter::load() {
  char text[1024];
  const ssize_t got = ::pread(file_.get(), text, sizeof text, 0);
  if (got < 0) throwErrno("cannot read the file of ids " + ipc::escape(path_));
  const std::string_view content(text, static_cast<std::size_t>(got));
  ceiling_ = numberIn(content, kCeilingName);
  if (ceiling_ == 0) {
    throw Error(Code::refused,
                "the file of ids " + ipc::escape(path_) +
                    " is damaged; if ids may begin at 1 again (old ones will be given twice), remove it");
  }
  next_ = ceiling_;
  if (!boot_.empty() && content.size() > kMarkAt) {
    const std::uint64_t mark = numberIn(content.substr(kMarkAt), kMarkName, boot_);
    if (mark != 0 && mark <= ceiling_) next_ = mark;
  }
  mark_ = next_;
}

IdCounter::~IdCounter() {
  try {
    close();
  } catch (const Error&) {
    // The mark stays where it was, and some ids are skipped.
  }
}

std::uint64_t IdCounter::raiseTo(std::uint64_t least) const {
  return std::min(kEnd, std::max(next_ + std::clamp(given_, kLeastRaise, kMostRaise), least));
}

void IdCounter::prepare() {
  const std::uint64_t raised = raiseTo(0);
  if (raising_.valid() || ceiling_ >= raised || ceiling_ - next_ > (raised - next_) / 2) return;
  const int file = file_ ? file_.get() : -1;
  raising_ = std::async(std::launch::async, [this, file, raised] { return raise(file, raised); });
}

std::uint64_t IdCounter::take(std::uint64_t count) {
  if (count == 0 || count > kEnd - next_) throw Error(Code::refused, "there are no more ids");
  const std::uint64_t end = next_ + count;
  const bool done =
      raising_.valid() && raising_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (done || end > ceiling_) finishRaise();
  if (end > ceiling_) adopt(raise(file_ ? file_.get() : -1, raiseTo(end)));
  if (end > mark_) {
    writeMark(std::min(ceiling_, end + std::clamp(given_ / 8, kLeastMarkStep, kMostMarkStep)));
  }
  given_ += count;
  next_ = end;
  prepare();
  return end - count;
}

void IdCounter::finishRaise() {
  if (!raising_.valid()) return;
  try {
    adopt(raising_.get());
  } catch (const Error&) {
    // Whoever needs the ids tries again, and is told.
  }
}

void IdCounter::adopt(Raised raised) {
  ceiling_ = raised.ceiling;
  if (!raised.file) return;
  file_ = std::move(raised.file);
  mark_ = next_;
  writeMark(next_);
}

void IdCounter::close() {
  finishRaise();
  if (mark_ != next_) writeMark(next_);
}

IdCounter::Raised IdCounter::raise(int file, std::uint64_t ceiling) const {
  struct stat status {};
  if (file < 0 || ::fstat(file, &status) != 0 || status.st_nlink == 0) return {ceiling, create(ceiling)};
  writeAt(file, 0, lineOf(kCeilingName, ceiling), path_);
  if (::fdatasync(file) != 0) cannot("sync", path_);
  return {ceiling, {}};
}

void IdCounter::writeMark(std::uint64_t mark) {
  // Even if this fails it may be in the file: nothing from there on counts as marked any more.
  mark_ = std::min(mark_, mark);
  if (!boot_.empty()) writeAt(file_.get(), kMarkAt, lineOf(kMarkName, mark, boot_), path_);
  mark_ = mark;
}

// Under its name the file is there in full or not at all.
shm::Fd IdCounter::create(std::uint64_t ceiling) const {
  const std::string temporary = path_ + ".new";
  if (::unlink(temporary.c_str()) != 0 && errno != ENOENT) cannot("remove", temporary);
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  shm::Fd file(::open(temporary.c_str(), kFlags, 0600));
  if (!file) cannot("make", temporary);
  writeAt(file.get(), 0, lineOf(kCeilingName, ceiling), temporary);
  writeAt(file.get(), kMarkAt, lineOf(kMarkName, ceiling, boot_), temporary);
  if (::fdatasync(file.get()) != 0) cannot("sync", temporary);
  if (::rename(temporary.c_str(), path_.c_str()) != 0) cannot("make", path_);
  const shm::Fd directory(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) cannot("sync", directory_);
  return file;
}

}  // namespace baton::daemon
