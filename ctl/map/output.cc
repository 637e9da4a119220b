#include "ctl/map/output.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace baton::ctl::map {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{256} << 10;  // passed on at once

int descriptorOf(Output::Stream stream) {
  return stream == Output::Stream::out ? 1 : 2;
}

}  // namespace

std::string temporaryDirectory() {
  const char* directory = std::getenv("TMPDIR");
  return directory != nullptr && *directory != '\0' ? directory : "/tmp";
}

Output::Output(OutputOptions options, Sink sink)
    : options_(std::move(options)), sink_(std::move(sink)), spillFile_(options_.temporaryDirectory) {}

void Output::begin(std::uint64_t sequence, std::string tag) {
  Job& started = jobs_[sequence];
  if (options_.tag) started.tag = std::move(tag) + '\t';
}

void Output::write(std::uint64_t sequence, Stream stream, std::string_view bytes) {
  Job& writer = jobs_.at(sequence);
  Held& held = writer.streams[static_cast<std::size_t>(stream)];
  held.written += bytes.size();
  if (isStreamed(sequence, stream)) {
    emit(writer, held, descriptorOf(stream), bytes);
  } else {
    hold(writer, held, bytes);
  }
}

bool Output::isStreamed(std::uint64_t sequence, Stream stream) const {
  return options_.keepOrder && options_.streamHead && sequence == head_ && stream == Stream::out;
}

void Output::hold(Job& job, Held& held, std::string_view bytes) {
  held.memory += bytes;
  heldBytes_ += bytes.size();
  if (job.streams[0].memory.size() + job.streams[1].memory.size() > options_.jobBytes) {
    spill(job);
  } else if (heldBytes_ > options_.totalBytes) {
    for (auto& [sequence, any] : jobs_) spill(any);
  }
}

void Output::spill(Job& job) {
  for (Held& held : job.streams) {
    if (held.memory.empty()) continue;
    const Extent extent = spillFile_.append(held.memory);
    if (!held.spilled.empty() && held.spilled.back().offset + held.spilled.back().length == extent.offset) {
      held.spilled.back().length += extent.length;
    } else {
      held.spilled.push_back(extent);
    }
    heldBytes_ -= held.memory.size();
    std::string().swap(held.memory);
  }
}

void Output::drop(Job& job) {
  for (Held& held : job.streams) {
    for (const Extent& extent : held.spilled) spillFile_.release(extent);
    heldBytes_ -= held.memory.size();
    held = Held{};
  }
}

void Output::restart(std::uint64_t sequence) {
  drop(jobs_.at(sequence));
}

std::uint64_t Output::end(std::uint64_t sequence) {
  const auto ended = jobs_.find(sequence);
  if (ended == jobs_.end()) return 0;
  const std::uint64_t written = ended->second.streams[0].written;
  if (options_.keepOrder) {
    ended->second.ended = true;
    advance();
  } else {
    flushJob(ended->second);
    jobs_.erase(ended);
  }
  return written;
}

void Output::discard(std::uint64_t sequence) {
  drop(jobs_.at(sequence));
  end(sequence);
}

void Output::advance() {
  for (auto job = jobs_.find(head_); job != jobs_.end(); job = jobs_.find(head_)) {
    if (!job->second.ended) {
      if (options_.streamHead) passOn(job->second, Stream::out);
      return;
    }
    flushJob(job->second);
    jobs_.erase(job);
    ++head_;
  }
}

void Output::flushJob(Job& job) {
  passOn(job, Stream::out);
  passOn(job, Stream::err);
}

void Output::passOn(Job& job, Stream stream) {
  Held& held = job.streams[static_cast<std::size_t>(stream)];
  const int fd = descriptorOf(stream);
  if (!held.spilled.empty()) {
    std::string piece(kPieceBytes, '\0');
    for (const Extent& extent : std::exchange(held.spilled, {})) {
      for (std::uint64_t at = 0; at < extent.length;) {
        const std::size_t got = spillFile_.read(extent, at, piece.data(), piece.size());
        emit(job, held, fd, std::string_view(piece).substr(0, got));
        at += got;
      }
      spillFile_.release(extent);
    }
  }
  heldBytes_ -= held.memory.size();
  emit(job, held, fd, std::exchange(held.memory, {}));
}

void Output::emit(const Job& job, Held& held, int fd, std::string_view bytes) {
  if (bytes.empty()) return;
  if (!options_.tag) {
    sink_(fd, bytes);
    return;
  }
  std::string tagged;
  while (!bytes.empty()) {
    if (!held.inLine) tagged += job.tag;
    const auto end = bytes.find_first_of("\r\n");
    held.inLine = end == bytes.npos;
    const std::size_t length = held.inLine ? bytes.size() : end + 1;
    tagged += bytes.substr(0, length);
    bytes.remove_prefix(length);
    if (tagged.size() >= kPieceBytes || bytes.empty()) {
      sink_(fd, tagged);
      tagged.clear();
    }
  }
}

}  // namespace baton::ctl::map
