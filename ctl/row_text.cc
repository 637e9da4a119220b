#include "ctl/row_text.h"

#include <fmt/format.h>

#include <array>
#include <ctime>

#include "ctl/exit_code.h"
#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

using ipc::wire::BatchRow;
using ipc::wire::Cause;
using ipc::wire::State;

constexpr std::uint64_t kSecond = 1'000'000'000;

// What says most of a batch first: what still goes on, then how it ended.
constexpr std::array kTelling = {State::RUNNING,   State::SUSPENDED, State::QUEUED,
                                 State::HELD,      State::LOST,      State::FAILED,
                                 State::TIMED_OUT, State::CANCELLED, State::SUCCEEDED};

std::uint64_t countOf(BatchRow::Reader row, State state) {
  const auto counts = row.getCounts();
  const auto index = static_cast<unsigned>(state);
  return index < counts.size() ? counts[index] : 0;
}

std::tm broken(std::uint64_t ns, bool utc) {
  const auto seconds = static_cast<std::time_t>(ns / kSecond);
  std::tm parts{};
  utc ? ::gmtime_r(&seconds, &parts) : ::localtime_r(&seconds, &parts);
  return parts;
}

std::string dateAndTime(const std::tm& parts, char between) {
  return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, between, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace

const char* stateName(State state) {
  switch (state) {
    case State::HELD:
      return "held";
    case State::QUEUED:
      return "queued";
    case State::RUNNING:
      return "running";
    case State::SUSPENDED:
      return "suspended";
    case State::SUCCEEDED:
      return "succeeded";
    case State::FAILED:
      return "failed";
    case State::TIMED_OUT:
      return "timed_out";
    case State::CANCELLED:
      return "cancelled";
    case State::LOST:
      return "lost";
  }
  return "unknown";
}

const char* causeName(Cause cause) {
  switch (cause) {
    case Cause::NONE:
      return "";
    case Cause::EXITED:
      return "exited";
    case Cause::SIGNALLED:
      return "signalled";
    case Cause::OOM:
      return "oom";
    case Cause::TIME_LIMIT:
      return "time_limit";
    case Cause::QUEUE_LIMIT:
      return "queue_limit";
    case Cause::CANCELLED:
      return "cancelled";
    case Cause::WORKER_LOST:
      return "worker_lost";
    case Cause::NOT_FOUND:
      return "not_found";
    case Cause::NOT_EXECUTABLE:
      return "not_executable";
    case Cause::SURROUNDINGS:
      return "surroundings";
    case Cause::UNKILLABLE:
      return "unkillable";
    case Cause::CLIENT_GONE:
      return "client_gone";
    case Cause::DAEMON_STOPPED:
      return "daemon_stopped";
  }
  return "unknown";
}

const char* batchStateName(BatchRow::Reader row) {
  for (const State state : kTelling) {
    if (hasEnded(state) && !row.getClosed()) return "open";
    if (countOf(row, state) > 0) return stateName(state);
  }
  return row.getClosed() ? "succeeded" : "open";
}

std::string batchProgress(BatchRow::Reader row) {
  std::uint64_t ended = 0;
  for (const State state : kTelling) {
    if (hasEnded(state)) ended += countOf(row, state);
  }
  const auto cancelled = countOf(row, State::CANCELLED);
  const auto failed = ended - cancelled - countOf(row, State::SUCCEEDED);
  std::string text = fmt::format("{} of {}{} done", ended, row.getTotal(), row.getClosed() ? "" : "+");
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (cancelled > 0) text += fmt::format(", {} cancelled", cancelled);
  if (const auto running = countOf(row, State::RUNNING)) text += fmt::format(", {} running", running);
  if (const auto held = countOf(row, State::HELD)) text += fmt::format(", {} held", held);
  return text;
}

std::vector<std::string> words(capnp::List<capnp::Data>::Reader argv) {
  std::vector<std::string> result;
  result.reserve(argv.size());
  for (const auto word : argv) result.emplace_back(word.asChars().begin(), word.size());
  return result;
}

std::string commandText(capnp::List<capnp::Data>::Reader argv) {
  return ipc::joinArgv(words(argv));
}

std::string textOf(capnp::Data::Reader bytes) {
  return ipc::escape({bytes.asChars().begin(), bytes.size()});
}

std::string idText(ipc::wire::TaskRow::Reader row) {
  return row.getBatch() == 0 ? fmt::format("{}", row.getId())
                             : fmt::format("{}.{}", row.getBatch(), row.getIndex());
}

std::uint64_t calendarNowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kSecond + static_cast<std::uint64_t>(now.tv_nsec);
}

std::string durationText(std::uint64_t ns) {
  return ipc::formatDuration(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
}

std::string durationText(std::uint64_t fromNs, std::uint64_t toNs) {
  return durationText(toNs > fromNs ? toNs - fromNs : 0);
}

std::string calendarText(std::uint64_t ns) {
  return ns == 0 ? "" : dateAndTime(broken(ns, false), ' ');
}

std::string timestampText(std::uint64_t ns) {
  return fmt::format("{}.{:06}Z", dateAndTime(broken(ns, true), 'T'), ns % kSecond / 1000);
}

}  // namespace baton::ctl
