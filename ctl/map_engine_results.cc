// The engine's way back: what jobs write, how they end, and what is shown of it.
#include <poll.h>

#include <csignal>

#include "ctl/exit_code.h"
#include "ctl/map_engine.h"
#include "ctl/output.h"
#include "ipc/error.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

using ipc::wire::Cause;
using ipc::wire::Frame;

constexpr std::size_t kSinkBytes = std::size_t{256} << 10;

map::JobEnd endOf(ipc::wire::TaskRow::Reader row) {
  map::JobEnd end;
  switch (row.getCause()) {
    case Cause::EXITED:
      end.exitCode = row.getExitCode();
      break;
    case Cause::SIGNALLED:
      end.signal = row.getSignal();
      break;
    case Cause::OOM:
      end.signal = SIGKILL;
      break;
    case Cause::TIME_LIMIT:
      end.timedOut = true;
      end.exitCode = row.getExitCode();
      end.signal = row.getSignal();
      break;
    case Cause::CANCELLED:
    case Cause::CLIENT_GONE:
      end.signal = SIGTERM;
      break;
    default:
      end.exitCode = outcomeOf(row).code;
      break;
  }
  return end;
}

}  // namespace

void MapEngine::takeFrames() {
  auto& connection = client_->connection();
  while (!batchEnded_ && !abandoned_) {
    const auto frame = connection.next();
    if (!frame) {
      return;
    }
    takeFrame(*frame);
  }
}

void MapEngine::takeFrame(const ipc::ReceivedFrame& received) {
  const auto frame = received.get();
  switch (frame.which()) {
    case Frame::ACCEPTED:
      batch_ = frame.getAccepted();
      break;
    case Frame::OUTPUT:
      takeOutput(frame.getOutput());
      break;
    case Frame::TASK_ENDED:
      takeEnd(frame.getTaskEnded());
      break;
    case Frame::BATCH_ENDED:
      batchEnded_ = true;
      break;
    case Frame::NOTICE:
      say(frame.getNotice().cStr());
      break;
    case Frame::LISTING:
      if (frame.getId() == listRequest_) takeListing(frame.getListing());
      break;
    case Frame::OK:
      additions_.erase(frame.getId());
      break;
    case Frame::ERROR:
      // Of other requests: the job or the batch has ended meanwhile.
      if (frame.getId() == ipc::Client::kFirstRequest || additions_.erase(frame.getId()) > 0) {
        ipc::throwIfError(frame);
      }
      break;
    default:
      break;
  }
}

void MapEngine::takeOutput(ipc::wire::Output::Reader output) {
  const auto found = live_.find(output.getIndex());
  if (found == live_.end() || stopping_ == Stopping::now) {
    return;
  }
  Live& live = found->second;
  if (live.attempt != 0 && output.getAttempt() > live.attempt) output_.restart(found->first);
  live.attempt = output.getAttempt();
  const auto bytes = output.getData().asChars();
  const auto stream = output.getStream() == 2 ? map::Output::Stream::err : map::Output::Stream::out;
  output_.write(found->first, stream, {bytes.begin(), bytes.size()});
}

void MapEngine::takeEnd(ipc::wire::TaskRow::Reader row) {
  const auto found = live_.find(row.getIndex());
  if (found == live_.end()) {
    return;
  }
  const std::uint64_t sequence = found->first;
  const Live live = std::move(found->second);
  live_.erase(found);
  window_->ended(std::chrono::nanoseconds(row.getWallNs()));
  if (stopping_ == Stopping::now || dropped_.erase(sequence) > 0) {
    output_.discard(sequence);
    return;
  }
  if (live.attempt != 0 && row.getAttempt() > live.attempt) output_.restart(sequence);
  countEnd(sequence, live, row);
}

void MapEngine::countEnd(std::uint64_t sequence, const Live& live, ipc::wire::TaskRow::Reader row) {
  const auto end = endOf(row);
  const std::uint64_t stdoutBytes = output_.end(sequence);
  if (jobLog_) {
    jobLog_->write({.sequence = sequence,
                    .started = std::chrono::nanoseconds(row.getStartedNs()),
                    .runtime = std::chrono::nanoseconds(row.getWallNs()),
                    .stdoutBytes = stdoutBytes,
                    .end = end,
                    .command = live.line});
  }
  ++done_;
  if (end.timedOut) {
    say("ended at its time limit of " + ipc::formatDuration(*options_.task.timeLimit) + ": " + live.line);
  } else if (row.getCause() != Cause::EXITED && row.getCause() != Cause::SIGNALLED) {
    say(outcomeOf(row).line + ": " + live.line);
  }
  const bool wasOn = halt_.state() == map::Go::on;
  const auto go = halt_.jobEnded(end);
  if (go == map::Go::on || !wasOn) {
    return;
  }
  const char* how = end.failed() ? "failed" : "succeeded";
  say(std::string("this job ") + how + ": " + live.line);
  stop(go == map::Go::now ? Stopping::now : Stopping::soon);
}

// May take signals, since it waits for a slow reader.
void MapEngine::sink(int fd, std::string_view bytes) {
  OutputWriter& writer = fd == STDOUT_FILENO ? out_ : err_;
  OutputWriter& other = fd == STDOUT_FILENO ? err_ : out_;
  while (!abandoned_ && (other.pending() > 0 || writer.pending() > kSinkBytes)) {
    if (flushOutput()) {
      break;
    }
    pollfd polled[3] = {{out_.pending() > 0 ? out_.fd() : -1, POLLOUT, 0},
                        {err_.pending() > 0 ? err_.fd() : -1, POLLOUT, 0},
                        {signals_ ? signals_->fd() : -1, POLLIN, 0}};
    ::poll(polled, 3, -1);
    if (polled[2].revents != 0) takeSignals();
  }
  if (!abandoned_) writer.append(bytes);
}

void MapEngine::say(const std::string& text) {
  bar_.clear();
  flushOutput();
  complain(text);
}

bool MapEngine::flushOutput() {
  if (out_.pending() + err_.pending() == 0) {
    return true;
  }
  bar_.clear();
  // One of them never has anything behind what the other has not written: sink() sees to it.
  const bool outDone = out_.flush();
  const bool errDone = err_.flush();
  return outDone && errDone;
}

map::Progress MapEngine::progress() const {
  map::Progress progress;
  progress.done = done_;
  progress.failed = halt_.failed();
  const std::uint64_t most = window_ ? window_->jobs() : 0;
  progress.running = std::min<std::uint64_t>(live_.size(), most);
  progress.total = jobs_.total();
  progress.elapsed = std::chrono::steady_clock::now() - begin_;
  return progress;
}

}  // namespace baton::ctl
