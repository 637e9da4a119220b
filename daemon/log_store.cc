#include "daemon/log_store.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "ipc/log_records.h"
#include "ipc/units.h"

namespace baton::daemon {
namespace {

// What is dropped is given back to the file system by chunks: a punched hole costs some 20 us, whatever its
// size.
constexpr std::uint64_t kChunkBytes = 64 << 10;
// More of one task in a segment is not believed: its first part, and as much again for the worker's last
// record.
constexpr std::uint64_t kMostOfOneTask = 2 * ipc::kLogFirstBytes;
// A call of tidy() stops after either: below a millisecond.
constexpr int kDropsPerTidy = 500;
constexpr std::uint64_t kBytesPerTidy = 4 << 20;

std::string segmentName(LogFileId id) {
  return "s" + std::to_string(id);
}

std::string overflowName(LogFileId id) {
  return "o" + std::to_string(id);
}

// visit(chunk, bytes of the range in it)
template <typename Visit>
void forEachChunk(std::uint64_t offset, std::uint64_t length, Visit visit) {
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t chunk = offset / kChunkBytes;
    const std::uint64_t next = std::min(end, (chunk + 1) * kChunkBytes);
    // A full segment is replaced before the next task; beyond that somebody has made the file large.
    if (chunk <= (kSegmentBytes + kMostOfOneTask) / kChunkBytes)
      visit(chunk, static_cast<std::uint32_t>(next - offset));
    offset = next;
  }
}

}  // namespace

LogStore::LogStore(LogStoreOptions options)
    : options_(std::move(options)), directory_(options_.directory, options_.close) {}

LogStore::Opened LogStore::openSegment() {
  Opened opened;
  const LogFileId id = ++lastFile_;
  opened.fd = directory_.create(segmentName(id), opened.note);
  if (!opened.fd) return opened;
  if (segments_.empty()) sweeping_ = true;
  opened.file = id;
  segments_.try_emplace(id);
  return opened;
}

bool LogStore::full(LogFileId segment) const {
  const auto found = segments_.find(segment);
  return found != segments_.end() && found->second.end > kSegmentBytes;
}

void LogStore::closeSegment(LogFileId segment) {
  const auto found = segments_.find(segment);
  if (found == segments_.end()) return;
  found->second.open = false;
  removeIfEmpty(segment, found->second);
}

void LogStore::begin(TaskId task, LogFileId segment, const std::string& note) {
  Entry entry;
  entry.running = true;
  const auto found = segments_.find(segment);
  if (found != segments_.end()) {
    entry.segment = segment;
    entry.offset = found->second.end;
    found->second.inUse = true;
  }
  const auto known = tasks_.find(task);
  if (known == tasks_.end()) {
    tasks_.emplace(task, std::move(entry));
  } else {
    entry.earlier = std::make_unique<Entry>(std::move(known->second));
    known->second = std::move(entry);
  }
  if (!note.empty()) notes_[task] = note;
}

std::uint64_t LogStore::lastBytes() const {
  return options_.perTaskBytes - std::min(options_.perTaskBytes, ipc::kLogFirstBytes);
}

LogStore::Opened LogStore::openOverflow(TaskId task) {
  Opened opened;
  Entry* entry = runningEntry(task);
  if (entry == nullptr || entry->overflow != 0) {
    opened.note = "no further log file: the task does not run, or has one";
    return opened;
  }
  const std::uint64_t rest = lastBytes();
  if (reserved_ + rest > options_.totalBytes) {
    opened.note = "output after the first " + ipc::formatSize(ipc::kLogFirstBytes) +
                  " was not kept: the logs of running tasks may take " +
                  ipc::formatSize(options_.totalBytes) + " in all (log_total)";
  } else {
    const LogFileId id = ++lastFile_;
    opened.fd = directory_.create(overflowName(id), opened.note);
    if (opened.fd) opened.file = id;
  }
  if (!opened.fd) {
    notes_[task] = opened.note;
    return opened;
  }
  // The segment gets no more of this task.
  if (const auto size = directory_.sizeOf(segmentName(entry->segment))) {
    entry->length = size->bytes - std::min(size->bytes, entry->offset);
  }
  entry->overflow = opened.file;
  overflows_.emplace(opened.file, Overflow{.charged = rest});
  used_ += rest;
  reserved_ += rest;
  return opened;
}

LogStore::Entry* LogStore::runningEntry(TaskId task) {
  const auto found = tasks_.find(task);
  return found != tasks_.end() && found->second.running ? &found->second : nullptr;
}

// What was written beyond the reported length (a record cut off by a full disk) takes space and is nobody's.
void LogStore::settleSegment(TaskId task, Entry& entry, std::uint64_t length) {
  const auto found = segments_.find(entry.segment);
  if (found == segments_.end()) return;
  Segment& segment = found->second;
  segment.inUse = false;
  entry.length = 0;
  const auto size = directory_.sizeOf(segmentName(entry.segment));
  if (!size) notes_[task] = "the log file has gone";
  if (size && size->bytes > entry.offset) {
    const std::uint64_t written = size->bytes - entry.offset;
    entry.length = std::min({length, written, kMostOfOneTask});
    segment.end = size->bytes;
    // A file made large without being written takes no space.
    const std::uint64_t charge = std::min(written, size->allocated);
    segment.charged += charge;
    used_ += charge;
    if (entry.length != 0) keepRange(segment, entry);
  }
  removeIfEmpty(entry.segment, segment);
}

void LogStore::settleOverflow(Entry& entry, const Written& written) {
  const auto found = overflows_.find(entry.overflow);
  if (found == overflows_.end()) return;
  Overflow& overflow = found->second;
  const auto size = directory_.sizeOf(overflowName(entry.overflow)).value_or(LogDirectory::Size{});
  overflow.end = std::min(written.overflowLength, size.bytes);
  overflow.start = std::min(written.overflowStart, overflow.end);
  used_ -= overflow.charged;
  reserved_ -= overflow.charged;
  overflow.charged = size.allocated;
  used_ += overflow.charged;
}

// After the files' part: the entry becomes a finished one, or nothing if there is nothing to be told.
void LogStore::settle(TaskId task, Entry& entry) {
  entry.running = false;
  if (entry.length == 0 && entry.overflow == 0 && !entry.earlier && !notes_.contains(task)) {
    tasks_.erase(task);
    return;
  }
  entry.finished = ++lastFinished_;
  finished_.push_back({.task = task, .number = entry.finished});
  compactFinished();
}

void LogStore::finish(TaskId task, const Written& written, const std::string& note) {
  Entry* entry = runningEntry(task);
  if (entry == nullptr) return;
  if (!note.empty()) notes_[task] = note;
  const auto segment = segments_.find(entry->segment);
  // With a note there may be bytes in the file although no whole record is.
  const bool untouched = note.empty() && written.length == 0 && entry->overflow == 0;
  if (untouched && segment != segments_.end() && segment->second.open) {
    segment->second.inUse = false;
  } else {
    settleSegment(task, *entry, written.length);
  }
  settleOverflow(*entry, written);
  settle(task, *entry);
}

void LogStore::finishLost(TaskId task) {
  Entry* entry = runningEntry(task);
  if (entry == nullptr) return;
  settleSegment(task, *entry, kGrowing);
  settleOverflow(*entry, {.overflowLength = kGrowing});
  settle(task, *entry);
}

LogStore::Log LogStore::partsOf(TaskId task) const {
  Log log;
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) return log;
  if (const auto note = notes_.find(task); note != notes_.end()) log.note = note->second;
  if (found->second.dropped) {
    log.note = "the log was dropped: those of all tasks may take " + ipc::formatSize(options_.totalBytes) +
               " in all (log_total)";
    return log;
  }
  log.running = found->second.running;
  addParts(found->second, log);
  return log;
}

void LogStore::addParts(const Entry& entry, Log& log) const {
  if (entry.earlier) addParts(*entry.earlier, log);
  const auto add = [&](const std::string& name, std::uint64_t offset, std::uint64_t length) {
    shm::Fd fd = directory_.open(name, log.note);
    if (fd) log.parts.push_back({.fd = std::move(fd), .offset = offset, .length = length});
  };
  const bool growing = entry.running && entry.overflow == 0;
  if (entry.segment != 0 && (growing || entry.length != 0)) {
    add(segmentName(entry.segment), entry.offset, growing ? kGrowing : entry.length);
  }
  const auto overflow = overflows_.find(entry.overflow);
  if (overflow == overflows_.end()) return;
  const auto [start, end, charged] = overflow->second;
  if (end != start) add(overflowName(entry.overflow), start, end == kGrowing ? kGrowing : end - start);
}

void LogStore::forget(TaskId task) {
  const auto found = tasks_.find(task);
  if (found == tasks_.end() || found->second.running) return;
  if (!found->second.dropped) drop(found->second);
  tasks_.erase(found);
  notes_.erase(task);
  compactFinished();
}

void LogStore::dropOldest() {
  const Finished oldest = finished_.front();
  finished_.pop_front();
  const auto found = tasks_.find(oldest.task);
  if (found == tasks_.end() || found->second.running || found->second.finished != oldest.number) return;
  if (found->second.length == 0 && found->second.overflow == 0 && !found->second.earlier)
    return;  // only a note
  drop(found->second);
  // Remembered, so that `logs` can say that there was one.
  found->second = Entry{};
  found->second.dropped = true;
}

void LogStore::drop(const Entry& entry) {
  if (entry.earlier) drop(*entry.earlier);
  if (entry.length != 0) dropRange(entry);
  if (const auto overflow = overflows_.find(entry.overflow); overflow != overflows_.end()) {
    directory_.remove(overflowName(entry.overflow));
    used_ -= overflow->second.charged;
    overflows_.erase(overflow);
  }
}

void LogStore::keepRange(Segment& segment, const Entry& entry) {
  ++segment.logs;
  forEachChunk(entry.offset, entry.length, [&](std::size_t chunk, std::uint32_t bytes) {
    if (chunk >= segment.live.size()) segment.live.resize(chunk + 1);
    segment.live[chunk] += bytes;
  });
}

// Gives back each chunk of which nothing is kept any more, unless the next task's records will begin in it.
void LogStore::dropRange(const Entry& entry) {
  const auto found = segments_.find(entry.segment);
  if (found == segments_.end()) return;
  Segment& segment = found->second;
  --segment.logs;
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  forEachChunk(entry.offset, entry.length, [&](std::size_t chunk, std::uint32_t bytes) {
    segment.live[chunk] -= bytes;
    if (segment.live[chunk] != 0 || (chunk + 1) * kChunkBytes > segment.end) return;
    // Only the first and the last can hold something of others: what is to be given back is in one piece.
    if (to == 0) from = chunk * kChunkBytes;
    to = (chunk + 1) * kChunkBytes;
  });
  const bool whole = !segment.open && !segment.inUse && segment.logs == 0;
  if (to != 0 && !whole && options_.punchHoles) {
    options_.punchHoles = directory_.punch(segmentName(entry.segment), from, to);
    const std::uint64_t freed = options_.punchHoles ? std::min(to - from, segment.charged) : 0;
    segment.charged -= freed;
    used_ -= freed;
  }
  removeIfEmpty(entry.segment, segment);
}

void LogStore::removeIfEmpty(LogFileId id, Segment& segment) {
  if (segment.open || segment.inUse || segment.logs != 0) return;
  directory_.remove(segmentName(id));
  used_ -= segment.charged;
  segments_.erase(id);
}

// Skipped places must not add up, where everything is forgotten before the bound is reached.
void LogStore::compactFinished() {
  constexpr std::size_t kFew = 1024;
  if (finished_.size() < kFew || finished_.size() < 2 * tasks_.size()) return;
  std::erase_if(finished_, [this](const Finished& place) {
    const auto found = tasks_.find(place.task);
    return found == tasks_.end() || found->second.finished != place.number;
  });
}

void LogStore::setLimits(std::uint64_t totalBytes, std::uint64_t perTaskBytes) {
  options_.totalBytes = totalBytes;
  options_.perTaskBytes = perTaskBytes;
}

void LogStore::tidy() {
  const std::uint64_t before = used_;
  for (int n = 0; n < kDropsPerTidy && used_ > options_.totalBytes && !finished_.empty(); ++n) {
    dropOldest();
    if (before - used_ > kBytesPerTidy) return;
  }
  if (sweeping_) sweeping_ = directory_.sweep();
}

void LogStore::removeAll() {
  directory_.removeAll();
  tasks_.clear();
  notes_.clear();
  segments_.clear();
  overflows_.clear();
  finished_.clear();
  used_ = 0;
  reserved_ = 0;
  sweeping_ = false;
}

}  // namespace baton::daemon
