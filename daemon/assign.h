// The order to a worker to run a task.
#pragma once

#include "daemon/task.h"
#include "ipc/frame.h"

namespace baton::daemon {

// A worker is ours: it takes a whole context in one frame, and the argv with it.
constexpr std::size_t kMaxWorkerFrameBytes = std::size_t{8} << 20;

struct AssignOptions {
  std::string socketPath;
  unsigned ioNice = 0;
  std::string cgroup;        // for the task; empty: none
  bool sameContext = false;  // the worker had it with its last task
};

// Fills `message` for a task whose `running` is set. Descriptors are the caller's.
void writeAssign(const Task& task, const AssignOptions& how, ipc::Message& message);

// What options are checked against, and what stands where they say nothing.
struct OptionBounds {
  unsigned slots = 0;  // of the pool
  std::chrono::nanoseconds grace{};
};

// Both directions of what the protocol calls TaskOptions. Reading throws Error(usage) for what is out of
// range.
void writeOptions(const TaskOptions& options, ipc::wire::TaskOptions::Builder builder);
TaskOptions readOptions(ipc::wire::TaskOptions::Reader reader, const OptionBounds& bounds);

// argv as one string, each word followed by NUL. Throws Error(usage) if it is empty or has a NUL inside.
std::string joinWords(capnp::List<capnp::Data>::Reader argv);
void writeWords(std::string_view joined, capnp::List<capnp::Data>::Builder builder);
std::size_t countWords(std::string_view joined);
// What the words take in a frame: each has a pointer, and is filled up to a multiple of 8 bytes.
std::size_t frameBytes(std::string_view joined);

// The bytes of `text` as Data, valid as long as it.
capnp::Data::Reader dataOf(std::string_view text);

}  // namespace baton::daemon
