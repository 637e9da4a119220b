// The log of one task: its output as records (ipc/log_records.h) in the order it was read. The first part
// goes to the worker's segment, which holds those of many tasks; what comes then to a file of its own, of
// which the last part is kept by punching holes into its front.
//
// 1. A file never ends in a part of a record: what could not be written whole is cut off again.
// 2. A failed write ends the log, never the task; the note says so and dropped() counts what is missing.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "daemon/worker/output_sink.h"
#include "ipc/log_records.h"
#include "shm/fd.h"

namespace baton::worker {

// With ipc::kLogFirstBytes the 64 MiB of a task's log.
inline constexpr std::uint64_t kLogLastBytes = 63U << 20;
// The front of an overflow file is dropped in steps of this size, or in so many if it is a small one.
inline constexpr std::uint64_t kLogStepBytes = 1U << 20;
inline constexpr std::uint64_t kLogSteps = 16;

// A file that records are appended to.
class RecordFile {
 public:
  // Takes a file open for writing and appends to what is there.
  explicit RecordFile(shm::Fd fd);

  // Errno of a failure, after which the file is as before; 0: written.
  int append(std::uint8_t stream, std::string_view bytes);
  std::uint64_t size() const { return size_; }
  // Drops [from, to). False: this file system cannot.
  bool punch(std::uint64_t from, std::uint64_t to) const;

 private:
  shm::Fd fd_;
  std::uint64_t size_ = 0;
};

class TaskLog : public OutputSink {
 public:
  // `segment` is the worker's and outlives this; nullptr: there is none, nothing is kept. Of what does not
  // fit there the last `lastBytes` are kept, records and their headers.
  explicit TaskLog(RecordFile* segment, std::uint64_t lastBytes = kLogLastBytes);

  bool hasRoom() const override { return pending_.empty(); }
  void write(std::uint8_t stream, std::string_view bytes) override;

  // True once, when the first part is full and there is more: then giveOverflow must be called.
  bool takeOverflowWish();
  // True from the wish to giveOverflow.
  bool waitsForOverflow() const { return !pending_.empty(); }
  // An empty descriptor: there is no room for more; the rest is dropped.
  void giveOverflow(shm::Fd file);

  std::uint64_t segmentBytes() const { return segment_ == nullptr ? 0 : segment_->size() - segmentStart_; }
  // Bytes of records written to the overflow file, dropped ones included.
  std::uint64_t overflowBytes() const { return overflow_ ? overflow_->size() : 0; }
  // Where the first record that is kept there begins.
  std::uint64_t overflowStart() const { return overflowStart_; }
  // Bytes of output read, and those of them not in the log any more.
  std::uint64_t outputBytes() const { return outputBytes_; }
  std::uint64_t droppedBytes() const { return droppedBytes_; }
  // Why the log is short, where that is not its bound's doing; empty: it is as it should be.
  const std::string& note() const { return note_; }

 private:
  // A record's start from which on the overflow file can be kept.
  struct Mark {
    std::uint64_t offset;
    std::uint64_t payloadBefore;  // bytes of output in the records before it
  };
  std::string_view writeFirst(std::uint8_t stream, std::string_view bytes);
  void writeOverflow(std::uint8_t stream, std::string_view bytes);
  bool makeRoom(std::uint64_t recordBytes);
  void cut(const std::string& why, std::uint64_t lostBytes);

  RecordFile* segment_;
  std::uint64_t lastBytes_;
  std::uint64_t segmentStart_ = 0;
  std::optional<RecordFile> overflow_;
  std::deque<Mark> marks_;
  std::uint64_t overflowStart_ = 0;
  std::uint64_t payloadAtStart_ = 0;
  std::uint64_t overflowPayload_ = 0;
  std::uint64_t outputBytes_ = 0;
  std::uint64_t droppedBytes_ = 0;
  std::string pending_;
  std::uint8_t pendingStream_ = 0;
  bool wish_ = false;
  bool closed_ = false;  // nothing more is written
  std::string note_;
};

}  // namespace baton::worker
