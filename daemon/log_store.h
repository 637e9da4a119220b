// The logs of tasks on disk: which file and range holds whose records, and the bound on all of them
// together. Single-threaded (the daemon's loop). Makes short system calls on local files; never reads or
// writes records itself.
//
// 1. The daemon makes every file and hands out descriptors; workers write (ipc/log_records.h says what).
// 2. A worker has one *segment* at a time. It runs one task at a time, so a task's records are one
//    contiguous range of it. A segment of more than kSegmentBytes is replaced before the next task.
// 3. A task whose records pass ipc::kLogFirstBytes gets an *overflow* file of its own, in which the worker
//    keeps the last part by punching holes in front of it.
// 4. Disk use is at most totalBytes, plus the first part of each running task: an overflow file counts in
//    full from the moment it is opened. To make room the logs of the tasks that finished first are dropped,
//    some at a time: while busy(), call tidy(). If running tasks alone take everything, no further overflow
//    file is given.
// 5. What cannot be opened (no directory, full disk) is an answer with a note, never an exception: the task
//    goes on without a log.
// 6. Logs are memory's companions: a new store forgets those of the daemon before it, and tidy() removes
//    them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/log_directory.h"
#include "shm/fd.h"

namespace baton::daemon {

// A file of the store; 0 is none. Never used again.
using LogFileId = std::uint32_t;

// 16 MiB: sixteen tasks of the greatest first part; a reader's descriptor pins no more than that.
inline constexpr std::uint64_t kSegmentBytes = 16ULL << 20;

struct LogStoreOptions {
  std::string directory;                     // made 0700 if absent; must be ours
  std::uint64_t totalBytes = 1ULL << 30;     // config log_total
  std::uint64_t perTaskBytes = 64ULL << 20;  // config log_per_task
  bool punchHoles = true;                    // false: as on a file system that cannot
  LogDirectory::Close close;                 // elsewhere than on the loop; empty: here
};

class LogStore {
 public:
  using TaskId = std::uint64_t;  // unique in the daemon, whatever the uid

  struct Opened {
    shm::Fd fd;  // for writing, appending; empty: `note` says why
    LogFileId file = 0;
    std::string note;
  };
  // What a worker reports at the end of a task; believed only as far as the files' sizes allow. `length` 0
  // without overflow and note: it wrote nothing, and no file is looked at.
  struct Written {
    std::uint64_t length = 0;          // bytes of records in the segment
    std::uint64_t overflowStart = 0;   // first byte kept in the overflow file
    std::uint64_t overflowLength = 0;  // bytes of records written to it, dropped ones included
  };
  struct Part {
    shm::Fd fd;  // for reading
    std::uint64_t offset = 0;
    std::uint64_t length = 0;  // kGrowing: to the end of the file, and growing
  };
  struct Log {
    std::vector<Part> parts;  // in order; the attempts of a task one after the other
    std::string note;         // why it is missing or short; empty: complete
    bool running = false;     // the last part still grows
  };
  static constexpr std::uint64_t kGrowing = UINT64_MAX;

  // Touches no file yet.
  explicit LogStore(LogStoreOptions options);
  LogStore(const LogStore&) = delete;
  LogStore& operator=(const LogStore&) = delete;

  // A segment for one worker, of one uid; the caller closes it with closeSegment.
  Opened openSegment();
  // The segment has grown over kSegmentBytes: close it and give the worker another before its next task.
  bool full(LogFileId segment) const;
  // Nothing more will be written to it (the worker has another, or has ended).
  void closeSegment(LogFileId segment);

  // `task` (or its next attempt) will write to `segment`; 0: it has no log, because of `note`.
  void begin(TaskId task, LogFileId segment, const std::string& note = {});
  // For the rest of a begun task's log. Once for each attempt.
  Opened openOverflow(TaskId task);
  // The begun task (its attempt) has ended. `note` is the worker's, why its log is short. May drop older
  // logs.
  void finish(TaskId task, const Written& written, const std::string& note = {});
  // As finish, when the worker died and cannot say what it wrote: all that is in the files counts. Close
  // its segment.
  void finishLost(TaskId task);

  // Never throws. A task that wrote nothing, or is not known, has no parts and no note.
  Log partsOf(TaskId task) const;
  // The record of a finished task is dropped, and its log with it. Unknown ones are ignored.
  void forget(TaskId task);

  // As `reload` changes them.
  void setLimits(std::uint64_t totalBytes, std::uint64_t perTaskBytes);
  // Disk use as rule 4 counts it.
  std::uint64_t usedBytes() const { return used_; }
  std::uint64_t totalBytes() const { return options_.totalBytes; }
  // What an overflow file may hold.
  std::uint64_t lastBytes() const;

  // There is something to be dropped or removed.
  bool busy() const { return sweeping_ || (used_ > options_.totalBytes && !finished_.empty()); }
  // Does a bounded part of it. For the loop, when nothing else is to be done.
  void tidy();
  // For a clean end: removes every file. Takes some milliseconds for each GiB.
  void removeAll();

 private:
  struct Segment {
    std::vector<std::uint32_t> live;  // by chunk of kChunkBytes: bytes of logs that are kept
    std::uint64_t end = 0;            // where the next task's records will be
    std::uint64_t charged = 0;        // of used_
    std::uint64_t logs = 0;           // attempts that have bytes in it
    bool open = true;
    bool inUse = false;  // a task runs that writes to it
  };
  struct Overflow {
    std::uint64_t start = 0;
    std::uint64_t end = kGrowing;
    std::uint64_t charged = 0;
  };
  // One attempt of a task.
  struct Entry {
    LogFileId segment = 0;
    LogFileId overflow = 0;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;    // in the segment
    std::uint64_t finished = 0;  // which place in finished_ is the valid one
    bool running = false;
    bool dropped = false;
    std::unique_ptr<Entry> earlier;
  };
  struct Finished {
    TaskId task = 0;
    std::uint64_t number = 0;
  };

  Entry* runningEntry(TaskId task);
  void settleSegment(TaskId task, Entry& entry, std::uint64_t length);
  void settleOverflow(Entry& entry, const Written& written);
  void settle(TaskId task, Entry& entry);
  void addParts(const Entry& entry, Log& log) const;
  void dropOldest();
  void drop(const Entry& entry);
  void keepRange(Segment& segment, const Entry& entry);
  void dropRange(const Entry& entry);
  void removeIfEmpty(LogFileId id, Segment& segment);
  void compactFinished();

  LogStoreOptions options_;
  LogDirectory directory_;
  std::unordered_map<TaskId, Entry> tasks_;
  std::unordered_map<TaskId, std::string> notes_;
  std::unordered_map<LogFileId, Segment> segments_;
  std::unordered_map<LogFileId, Overflow> overflows_;
  std::deque<Finished> finished_;  // oldest first; those that were forgotten or ran again are skipped
  std::uint64_t lastFinished_ = 0;
  std::uint64_t used_ = 0;
  std::uint64_t reserved_ = 0;  // of used_, for overflow files of running tasks
  LogFileId lastFile_ = 0;
  bool sweeping_ = false;
};

}  // namespace baton::daemon
