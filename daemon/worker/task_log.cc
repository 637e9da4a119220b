#include "daemon/worker/task_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ipc/units.h"

namespace baton::worker {
namespace {

std::uint64_t calendarNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::string cutBecause(int error) {
  return std::string("the log is cut: ") + std::strerror(error);
}

}  // namespace

RecordFile::RecordFile(shm::Fd fd) : fd_(std::move(fd)) {
  struct stat status {};
  if (::fstat(fd_.get(), &status) == 0) size_ = static_cast<std::uint64_t>(status.st_size);
}

int RecordFile::append(std::uint8_t stream, std::string_view bytes) {
  auto header = ipc::encodeLogHeader({stream, static_cast<std::uint32_t>(bytes.size()), calendarNs()});
  iovec parts[2] = {{header.data(), header.size()}, {const_cast<char*>(bytes.data()), bytes.size()}};
  const std::size_t total = header.size() + bytes.size();
  ssize_t written = 0;
  do {
    written = ::pwritev(fd_.get(), parts, 2, static_cast<off_t>(size_));
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(total)) {
    size_ += total;
    return 0;
  }
  const int error = written < 0 ? errno : ENOSPC;
  if (written > 0 && ::ftruncate(fd_.get(), static_cast<off_t>(size_)) < 0) {
    // The part stays: readers stop at it, so what would come behind it is as good as lost.
    return error;
  }
  return error;
}

bool RecordFile::punch(std::uint64_t from, std::uint64_t to) const {
  return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from),
                     static_cast<off_t>(to - from)) == 0;
}

TaskLog::TaskLog(RecordFile* segment, std::uint64_t lastBytes) : segment_(segment), lastBytes_(lastBytes) {
  if (segment_ != nullptr) {
    segmentStart_ = segment_->size();
  } else {
    closed_ = true;
    note_ = "there is no log";
  }
}

void TaskLog::cut(const std::string& why, std::uint64_t lostBytes) {
  closed_ = true;
  note_ = why;
  droppedBytes_ += lostBytes;
}

void TaskLog::write(std::uint8_t stream, std::string_view bytes) {
  outputBytes_ += bytes.size();
  if (!closed_ && !overflow_) bytes = writeFirst(stream, bytes);
  if (bytes.empty()) return;
  if (closed_) {
    droppedBytes_ += bytes.size();
  } else if (overflow_) {
    writeOverflow(stream, bytes);
  } else {
    pending_ = bytes;
    pendingStream_ = stream;
    wish_ = true;
  }
}

// What does not fit into the first part.
std::string_view TaskLog::writeFirst(std::uint8_t stream, std::string_view bytes) {
  const std::uint64_t room = ipc::kLogFirstBytes - std::min(segmentBytes(), ipc::kLogFirstBytes);
  if (room <= ipc::kLogHeaderBytes) return bytes;
  const auto part = bytes.substr(0, room - ipc::kLogHeaderBytes);
  if (const int error = segment_->append(stream, part); error != 0) {
    cut(cutBecause(error), bytes.size());
    return {};
  }
  return bytes.substr(part.size());
}

bool TaskLog::takeOverflowWish() {
  return std::exchange(wish_, false);
}

void TaskLog::giveOverflow(shm::Fd file) {
  if (pending_.empty()) return;
  const std::string bytes = std::exchange(pending_, {});
  if (!file) {
    cut("the log is cut after its first part: there is no room for more", bytes.size());
    return;
  }
  overflow_.emplace(std::move(file));
  overflowStart_ = overflow_->size();
  writeOverflow(pendingStream_, bytes);
}

// Drops records from the front until one of `recordBytes` fits. False: that cannot be done here.
bool TaskLog::makeRoom(std::uint64_t recordBytes) {
  const std::uint64_t end = overflow_->size() + recordBytes;
  if (end - overflowStart_ <= lastBytes_) return true;
  const auto keep = std::find_if(marks_.begin(), marks_.end(),
                                 [&](const Mark& mark) { return end - mark.offset <= lastBytes_; });
  if (keep == marks_.end() || !overflow_->punch(overflowStart_, keep->offset)) return false;
  droppedBytes_ += keep->payloadBefore - payloadAtStart_;
  overflowStart_ = keep->offset;
  payloadAtStart_ = keep->payloadBefore;
  marks_.erase(marks_.begin(), keep + 1);
  return true;
}

void TaskLog::writeOverflow(std::uint8_t stream, std::string_view bytes) {
  if (!makeRoom(ipc::kLogHeaderBytes + bytes.size())) {
    cut("the log is cut after its first " + ipc::formatSize(ipc::kLogFirstBytes + lastBytes_) +
            ": this file system cannot drop the front of a file",
        bytes.size());
    return;
  }
  const std::uint64_t begin = overflow_->size();
  if (const int error = overflow_->append(stream, bytes); error != 0) {
    cut(cutBecause(error), bytes.size());
    return;
  }
  const std::uint64_t last = marks_.empty() ? overflowStart_ : marks_.back().offset;
  if (begin - last >= std::min(kLogStepBytes, lastBytes_ / kLogSteps))
    marks_.push_back({begin, overflowPayload_});
  overflowPayload_ += bytes.size();
}

}  // namespace baton::worker
