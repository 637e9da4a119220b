#include "ctl/log_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

std::uint64_t fileSize(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) < 0) throwErrno("cannot look at the log");
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t readAt(int fd, std::string& buffer, std::uint64_t offset, std::size_t wanted) {
  buffer.resize(wanted);
  while (true) {
    const ssize_t got = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) throwErrno("cannot read the log");
  }
}

bool sameFile(int a, int b) {
  struct stat first {};
  struct stat second {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

}  // namespace

LogReader::LogReader(ipc::Client& client, const TaskRef& task, ipc::Client::EventHandler others)
    : client_(client), task_(task), others_(std::move(others)) {
  refresh();
}

void LogReader::refresh() {
  ipc::Message request;
  auto ref = request.frame().initLogs().initRef();
  ref.setId(task_.id);
  ref.setIndex(task_.index);
  auto reply = client_.call(request, others_);
  const auto files = reply.get().getLogFiles();
  const auto listed = files.getParts();
  if (reply.fds.size() != listed.size())
    throw Error(Code::protocol, "a log whose files did not come with it");
  std::vector<Part> parts;
  for (unsigned i = 0; i < listed.size(); ++i) {
    const std::uint64_t begin = listed[i].getOffset();
    const bool open = listed[i].getLength() == kOpen;
    parts.push_back({std::move(reply.fds[i]), begin, open ? kOpen : begin + listed[i].getLength()});
  }
  droppedBytes_ = files.getDroppedBytes();
  note_ = files.getNote().cStr();
  running_ = files.getRunning();
  settle(std::move(parts));
}

void LogReader::settle(std::vector<Part> parts) {
  if (part_ < parts_.size()) {
    const Part& current = parts_[part_];
    const auto found = std::find_if(parts.begin(), parts.end(), [&](const Part& part) {
      // A file's front may have been dropped; else the beginning tells attempts in one file apart.
      return part.begin >= current.begin && sameFile(part.fd.get(), current.fd.get());
    });
    if (found != parts.end()) {
      part_ = static_cast<std::size_t>(found - parts.begin());
    } else {
      // An attempt that wrote nothing has no part once it has ended; a log may be dropped as a whole.
      part_ = 0;
      startPart(parts);
    }
  } else if (parts_.size() <= part_ && part_ < parts.size()) {
    startPart(parts);
  }
  parts_ = std::move(parts);
}

void LogReader::startPart(const std::vector<Part>& parts) {
  position_ = part_ < parts.size() ? parts[part_].begin : 0;
  decoder_ = {};
}

void LogReader::rewind() {
  part_ = 0;
  startPart(parts_);
  gapTold_ = false;
}

void LogReader::read(const Visitor& visitor) {
  // What has been opened since the last time is only known from a new answer.
  if (parts_.empty() || parts_.back().end == kOpen) refresh();
  while (part_ < parts_.size() && (readPiece(visitor) || nextPart(visitor))) {
  }
  // Elsewhere than between two parts: the log ends early.
  const bool endsEarly = parts_.size() < 2 && droppedBytes_ > 0;
  if (!running_ && endsEarly && !gapTold_) passGap(droppedBytes_, visitor);
}

bool LogReader::readPiece(const Visitor& visitor) {
  const Part& part = parts_[part_];
  const bool open = part.end == kOpen;
  if (position_ < part.begin) {
    passGap(part.begin - position_, visitor);
    position_ = part.begin;
  }
  const std::uint64_t end = open ? fileSize(part.fd.get()) : part.end;
  if (position_ >= end) return false;
  const std::size_t wanted = std::min<std::uint64_t>(kPieceBytes, end - position_);
  std::size_t got = readAt(part.fd.get(), buffer_, position_, wanted);
  if (got == 0) return false;
  if (open) got = confirmed(got);
  decode(std::string_view(buffer_).substr(0, got), visitor);
  position_ += got;
  return true;
}

std::size_t LogReader::confirmed(std::size_t bytes) {
  const std::uint64_t position = position_;
  const std::size_t part = part_;
  refresh();
  const bool gone =
      part_ != part || position_ != position || part_ >= parts_.size() || position_ < parts_[part_].begin;
  if (gone) return 0;
  const std::uint64_t end = parts_[part_].end;
  if (end == kOpen) return bytes;
  return static_cast<std::size_t>(std::min<std::uint64_t>(bytes, end > position_ ? end - position_ : 0));
}

void LogReader::decode(std::string_view bytes, const Visitor& visitor) {
  const std::uint64_t holes = decoder_.holeBytes();
  decoder_.feed(bytes);
  ipc::LogRecord record;
  while (decoder_.next(record) == ipc::LogDecoder::Result::record) visitor.record(record);
  if (decoder_.holeBytes() > holes) visitor.gap(decoder_.holeBytes() - holes);
}

void LogReader::passGap(std::uint64_t bytes, const Visitor& visitor) {
  gapTold_ = true;
  decoder_ = {};
  visitor.gap(bytes);
}

bool LogReader::nextPart(const Visitor& visitor) {
  if (part_ >= parts_.size() || parts_[part_].end == kOpen || part_ + 1 >= parts_.size()) return false;
  ++part_;
  startPart(parts_);
  // The daemon knows of gaps in the last attempt only; its two parts are the last ones.
  if (part_ + 1 == parts_.size() && droppedBytes_ > 0 && !gapTold_) passGap(droppedBytes_, visitor);
  return true;
}

}  // namespace baton::ctl
