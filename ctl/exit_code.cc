#include "ctl/exit_code.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>

#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

using ipc::wire::Cause;
using ipc::wire::State;
using ipc::wire::TaskRow;

std::string task(TaskRow::Reader row) {
  return row.getBatch() == 0 ? fmt::format("task {}", row.getId())
                             : fmt::format("task {}.{}", row.getBatch(), row.getIndex());
}

// Rows without options do not say it.
std::string limitOf(std::uint64_t ns) {
  if (ns == 0) return "";
  return " of " + ipc::formatDuration(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
}

// "SENTENCE: DETAIL", or the sentence alone.
std::string withDetail(const std::string& sentence, TaskRow::Reader row) {
  const std::string detail = ipc::escape(row.getDetail().cStr());
  return detail.empty() ? sentence : sentence + ": " + detail;
}

// The daemon's own words where it has some.
std::string detailOr(TaskRow::Reader row, const char* otherwise) {
  const auto argv = row.getArgv();
  if (row.getDetail().size() > 0) return ipc::escape(row.getDetail().cStr());
  if (argv.size() == 0) return otherwise;
  const auto word = argv[0].asChars();
  return ipc::escape({word.begin(), word.size()}) + ": " + otherwise;
}

std::string oomLine(TaskRow::Reader row) {
  const std::string peak =
      row.getPeakBytes() == 0 ? "" : fmt::format(" (it had {})", ipc::formatSize(row.getPeakBytes()));
  return fmt::format("{} was killed by the kernel because memory ran out{}", task(row), peak);
}

// What there is to say beyond the exit code.
std::string lineOf(TaskRow::Reader row) {
  switch (row.getCause()) {
    case Cause::EXITED:
    case Cause::SIGNALLED:
      return "";
    case Cause::OOM:
      return oomLine(row);
    case Cause::TIME_LIMIT:
      return task(row) + " was ended at its time limit" + limitOf(row.getOptions().getTimeLimitNs());
    case Cause::QUEUE_LIMIT:
      return task(row) + " had not started when its queue limit" +
             limitOf(row.getOptions().getQueueLimitNs()) + " was over";
    case Cause::CANCELLED:
      return withDetail(task(row) + " was cancelled", row);
    case Cause::CLIENT_GONE:
      return task(row) + " was cancelled because the client that waited for it has gone";
    case Cause::NOT_FOUND:
      return detailOr(row, "no such program");
    case Cause::NOT_EXECUTABLE:
      return detailOr(row, "cannot be executed");
    case Cause::SURROUNDINGS:
      return detailOr(row, "its surroundings could not be had");
    case Cause::WORKER_LOST:
      return withDetail(task(row) + " is lost: its worker died", row);
    case Cause::UNKILLABLE:
      return withDetail(task(row) + " could not be killed and is given up", row);
    case Cause::DAEMON_STOPPED:
      return withDetail(task(row) + " was ended because the daemon stopped", row);
    case Cause::NONE:
      break;
  }
  return withDetail(task(row) + " has failed", row);
}

}  // namespace

Outcome outcomeOf(TaskRow::Reader row, bool refusedToWait) {
  if (refusedToWait && row.getCause() == Cause::QUEUE_LIMIT) return {kExitNotToBeHad, "no slot is free now"};
  const int code = ipc::exitCodeOf({row.getState(), row.getCause(), row.getExitCode(), row.getSignal()});
  return {code, code == 0 ? "" : lineOf(row)};
}

bool hasEnded(State state) {
  switch (state) {
    case State::HELD:
    case State::QUEUED:
    case State::RUNNING:
    case State::SUSPENDED:
      return false;
    default:
      return true;
  }
}

bool hasEnded(ipc::wire::BatchRow::Reader row) {
  if (!row.getClosed()) return false;
  const auto counts = row.getCounts();
  std::uint64_t ended = 0;
  for (unsigned state = 0; state < counts.size(); ++state) {
    if (hasEnded(static_cast<State>(state))) ended += counts[state];
  }
  return ended == row.getTotal();
}

std::string signalName(int signal) {
  if (const char* name = ::sigabbrev_np(signal)) return name;
  if (signal == SIGRTMIN) return "RTMIN";
  if (signal > SIGRTMIN && signal <= SIGRTMAX) return fmt::format("RTMIN+{}", signal - SIGRTMIN);
  return std::to_string(signal);
}

int signalNumber(const std::string& name) {
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  if (upper.starts_with("SIG")) upper.erase(0, 3);
  for (int signal = 1; signal < NSIG; ++signal) {
    if (upper == signalName(signal)) return signal;
  }
  if (upper == "RTMAX") return SIGRTMAX;
  if (upper == "POLL") return SIGPOLL;
  int number = 0;
  const char* end = name.data() + name.size();
  const auto [stopped, failure] = std::from_chars(name.data(), end, number);
  const bool valid = failure == std::errc() && stopped == end && number >= 1 && number < NSIG;
  return valid ? number : 0;
}

}  // namespace baton::ctl
