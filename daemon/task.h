// The records of tasks and batches. Plain data, owned by the Registry, changed by the Dispatcher alone.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/batch_tasks.h"
#include "daemon/context_table.h"
#include "daemon/pipelines.h"
#include "daemon/scheduler_types.h"
#include "ipc/baton.capnp.h"

namespace baton::daemon {

using ipc::wire::Cause;
using ipc::wire::OutputMode;
using ipc::wire::State;

constexpr std::size_t kStates = 9;

// What the submitter chose; one object for all tasks of a batch. Checked by readOptions.
struct TaskOptions {
  std::string name;
  int priority = 0;
  Lane lane = Lane::cpu;
  unsigned slots = 1;
  std::uint64_t timeLimitNs = 0;
  std::uint64_t graceNs = 0;  // at most INT64_MAX
  std::uint64_t queueLimitNs = 0;
  bool held = false;
  unsigned attempts = 1;
  bool detachChildren = false;
  OutputMode output = OutputMode::LOG;
  std::string stdinPath;
  std::string stdoutPath;
  std::string stderrPath;
};

// How an attempt ended, as the worker reports it or the daemon concludes.
struct Outcome {
  Cause cause = Cause::NONE;
  int exitCode = 0;
  int signal = 0;
  bool coreDumped = false;
  bool peakIsUpperBound = true;
  std::uint64_t wallNs = 0;
  std::uint64_t userNs = 0;
  std::uint64_t systemNs = 0;
  std::uint64_t peakBytes = 0;
  std::uint64_t outputBytes = 0;
  std::uint64_t droppedBytes = 0;
  std::string detail;
  std::string logNote;
  std::vector<std::int32_t> escaped;
};

// What exists only while an attempt runs.
struct Running {
  std::uint32_t worker = 0;
  unsigned slot = 0;     // from 1; 0: IO lane
  std::int32_t pid = 0;  // 0: not started yet
  bool stopped = false;  // by a signal
  bool parked = false;   // its slots are given back
  bool cancelling = false;
  std::string secret;  // BATON_TASK is KEY:SECRET
};

struct Batch;

// What the submitter gave.
struct TaskContent {
  std::shared_ptr<const TaskOptions> options;
  std::shared_ptr<const Context> context;
  std::string argv;  // each word followed by NUL
};

struct Task {
  TaskId key = 0;            // inside this the daemon; never shown
  std::uint64_t number = 0;  // its own, or its batch's
  Uid uid = 0;
  Batch* batch = nullptr;
  std::uint32_t index = 0;  // in the batch, from 1
  State state = State::QUEUED;
  bool attached = false;
  std::uint16_t attempt = 0;  // of the last one started
  std::uint8_t crashLosses = 0;
  std::uint8_t terminals = 0;  // bit n: descriptor n is a terminal
  bool foreground = false;
  std::unique_ptr<PipeEnds> pipes;  // if it has any
  std::shared_ptr<const TaskOptions> options;
  std::shared_ptr<const Context> context;
  std::string argv;  // each word followed by NUL
  std::uint64_t submittedNs = 0;
  std::uint64_t startedNs = 0;
  std::uint64_t endedNs = 0;
  std::chrono::nanoseconds queuedAt{};  // monotonic
  std::unique_ptr<Running> running;
  std::unique_ptr<Outcome> outcome;  // of the last attempt that ended
};

struct Batch {
  std::uint64_t number = 0;
  bool closed = false;
  bool attached = false;
  Uid uid = 0;
  std::shared_ptr<const TaskOptions> options;
  std::shared_ptr<const Context> context;
  std::uint64_t submittedNs = 0;
  std::uint64_t endedNs = 0;
  std::array<std::uint64_t, kStates> counts{};
  std::uint64_t total = 0;
  int highestCode = 0;
  std::string firstArgv;
  BatchTasks tasks;  // an attached batch keeps only what has not ended, and what went wrong
  bool ended() const;
};

constexpr bool isEnd(State state) {
  return state == State::SUCCEEDED || state == State::FAILED || state == State::TIMED_OUT ||
         state == State::CANCELLED || state == State::LOST;
}

inline bool Batch::ended() const {
  std::uint64_t ends = 0;
  for (std::size_t i = 0; i < kStates; ++i) {
    if (isEnd(static_cast<State>(i))) ends += counts[i];
  }
  return closed && ends == total;
}

// As users name it: "12", or "12.3" for the third task of batch 12.
std::string labelOf(const Task& task);

// The words of `Task::argv`.
std::vector<std::string_view> splitArgv(std::string_view joined);

// The submitter's bytes in a task's record that no other record shares; contexts are charged by themselves.
std::size_t bytesOf(const Task& task);

// The state in which an outcome leaves a task.
State stateOf(const Outcome& outcome);
// The exit code by which the shell knows it.
int exitCodeOf(const Outcome& outcome);

}  // namespace baton::daemon
