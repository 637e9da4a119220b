// What the worker tells the daemon. Frames are gathered: those of a task of a millisecond leave in one write.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/worker/command.h"
#include "daemon/worker/output_sink.h"
#include "daemon/worker/time.h"
#include "ipc/connection.h"

namespace baton::worker {

// How long `started` and the first output wait for what comes next; well below what a person or the daemon's
// timers notice.
inline constexpr Duration kGatherTime = std::chrono::milliseconds(1);
// With more than this unsent no task's output is read: its reader is slow, so the task waits.
inline constexpr std::size_t kMaxUnsentBytes = std::size_t{256} << 10;

// The end of a task, as the schema's WorkerEnded.
struct TaskEnd {
  std::uint64_t task = 0;
  Outcome outcome;
  std::uint64_t wallNs = 0;
  std::uint64_t userNs = 0;
  std::uint64_t systemNs = 0;
  std::uint64_t peakBytes = 0;
  bool peakIsUpperBound = true;
  std::uint64_t logLength = 0;
  std::uint64_t overflowLength = 0;
  std::uint64_t overflowStart = 0;
  std::uint64_t outputBytes = 0;
  std::uint64_t droppedBytes = 0;
  std::string logNote;
  std::vector<pid_t> escaped;
  pid_t holder = 0;
};

class Reporter {
 public:
  explicit Reporter(ipc::Connection& daemon) : daemon_(daemon) {}

  void ready();
  void started(std::uint64_t task, pid_t pid, std::uint32_t slot);
  void stopped(std::uint64_t task, int signal);
  void output(std::uint8_t stream, std::string_view bytes);
  void overflowWanted();
  void sampled(std::uint64_t task, std::uint64_t cpuNs, bool asleep);
  void ended(const TaskEnd& end);

  bool congested() const { return held_ || daemon_.unsentBytes() > kMaxUnsentBytes; }
  // The daemon wants no output now, or again.
  void hold(bool held) { held_ = held; }
  // When flush is to be called next; kNever: when the socket takes more, or there is nothing to be sent.
  Time due() const { return due_; }
  // Writes what the socket takes; the rest waits for POLLOUT. Throws Error(disconnected).
  void flush();
  bool blocked() const { return blocked_; }

 private:
  void send(ipc::Message& message, Duration delay = {});

  ipc::Connection& daemon_;
  Time due_ = kNever;
  bool blocked_ = false;
  bool held_ = false;
};

// Output that goes to the client: a slow one holds the task back.
class StreamSink : public OutputSink {
 public:
  explicit StreamSink(Reporter& reporter) : reporter_(reporter) {}
  bool hasRoom() const override { return !reporter_.congested(); }
  void write(std::uint8_t stream, std::string_view bytes) override {
    bytes_ += bytes.size();
    reporter_.output(stream, bytes);
  }
  std::uint64_t outputBytes() const { return bytes_; }

 private:
  Reporter& reporter_;
  std::uint64_t bytes_ = 0;
};

}  // namespace baton::worker
