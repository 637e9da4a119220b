#include "daemon/assign.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr int kMaxPriority = 1000;
constexpr std::size_t kMaxNameBytes = 128;
constexpr unsigned kMaxAttempts = 1000;
constexpr std::uint64_t kGraceNotTold = UINT64_MAX;
// A row of a listing has to fit into a frame, with all else that it says of its task.
constexpr std::size_t kMaxArgvBytes = ipc::kMaxFrameBytes - (std::size_t{64} << 10);

std::string pathOf(capnp::Data::Reader bytes, const char* what) {
  if (bytes.size() > 0 && std::memchr(bytes.begin(), 0, bytes.size()) != nullptr) {
    throw Error(Code::usage, std::string("a NUL byte in the path of ") + what);
  }
  if (bytes.size() >= PATH_MAX) throw Error(Code::usage, std::string("the path of ") + what + " is too long");
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

}  // namespace

capnp::Data::Reader dataOf(std::string_view text) {
  return {reinterpret_cast<const capnp::byte*>(text.data()), text.size()};
}

std::string joinWords(capnp::List<capnp::Data>::Reader argv) {
  if (argv.size() == 0 || argv[0].size() == 0) {
    throw Error(Code::usage, "a task needs a command");
  }
  std::size_t size = 0;
  for (const auto word : argv) size += word.size() + 1;
  std::string joined;
  joined.reserve(size);
  for (const auto word : argv) {
    if (word.size() > 0 && std::memchr(word.begin(), 0, word.size()) != nullptr) {
      throw Error(Code::usage, "a NUL byte in an argument");
    }
    joined.append(reinterpret_cast<const char*>(word.begin()), word.size());
    joined += '\0';
  }
  if (frameBytes(joined) > kMaxArgvBytes) {
    throw Error(Code::tooLarge, "the command is larger than the " + std::to_string(kMaxArgvBytes >> 10) +
                                    " KiB that a task may have");
  }
  return joined;
}

std::size_t countWords(std::string_view joined) {
  return static_cast<std::size_t>(std::count(joined.begin(), joined.end(), '\0'));
}

std::size_t frameBytes(std::string_view joined) {
  std::size_t bytes = 0;
  for (std::size_t at = 0; at < joined.size();) {
    const std::size_t end = joined.find('\0', at);
    bytes += sizeof(capnp::word) +
             (end - at + sizeof(capnp::word) - 1) / sizeof(capnp::word) * sizeof(capnp::word);
    at = end + 1;
  }
  return bytes;
}

void writeWords(std::string_view joined, capnp::List<capnp::Data>::Builder builder) {
  unsigned index = 0;
  for (const auto word : splitArgv(joined)) builder.set(index++, dataOf(word));
}

void writeOptions(const TaskOptions& options, ipc::wire::TaskOptions::Builder builder) {
  if (!options.name.empty()) builder.setName(options.name);
  builder.setPriority(options.priority);
  builder.setLane(options.lane == Lane::io ? ipc::wire::Lane::IO : ipc::wire::Lane::CPU);
  builder.setSlots(static_cast<std::uint16_t>(options.slots));
  builder.setTimeLimitNs(options.timeLimitNs);
  builder.setGraceNs(options.graceNs);
  builder.setQueueLimitNs(options.queueLimitNs);
  builder.setHeld(options.held);
  builder.setAttempts(static_cast<std::uint16_t>(options.attempts));
  builder.setDetachChildren(options.detachChildren);
  builder.setOutput(options.output);
  if (!options.stdinPath.empty()) builder.setStdinPath(dataOf(options.stdinPath));
  if (!options.stdoutPath.empty()) builder.setStdoutPath(dataOf(options.stdoutPath));
  if (!options.stderrPath.empty()) builder.setStderrPath(dataOf(options.stderrPath));
}

TaskOptions readOptions(ipc::wire::TaskOptions::Reader reader, const OptionBounds& bounds) {
  TaskOptions options;
  options.name = std::string(reader.getName().cStr(), reader.getName().size());
  if (options.name.size() > kMaxNameBytes) throw Error(Code::usage, "a task's name has at most 128 bytes");
  options.priority = reader.getPriority();
  if (options.priority < -kMaxPriority || options.priority > kMaxPriority) {
    throw Error(Code::usage, "a priority is from -1000 to 1000, not " + std::to_string(options.priority));
  }
  switch (reader.getLane()) {
    case ipc::wire::Lane::CPU:
      options.lane = Lane::cpu;
      break;
    case ipc::wire::Lane::IO:
      options.lane = Lane::io;
      break;
    default:
      throw Error(Code::usage, "an unknown lane");
  }
  options.slots = reader.getSlots();
  if (options.slots < 1 || (options.lane == Lane::cpu && options.slots > bounds.slots)) {
    throw Error(Code::refused, "a task of " + std::to_string(options.slots) +
                                   " slots can never run: the pool has " + std::to_string(bounds.slots));
  }
  options.timeLimitNs = reader.getTimeLimitNs();
  options.graceNs = reader.getGraceNs() == kGraceNotTold
                        ? static_cast<std::uint64_t>(bounds.grace.count())
                        : std::min<std::uint64_t>(reader.getGraceNs(), INT64_MAX);
  options.queueLimitNs = reader.getQueueLimitNs();
  options.held = reader.getHeld();
  options.attempts = reader.getAttempts();
  if (options.attempts < 1 || options.attempts > kMaxAttempts) {
    throw Error(Code::usage, "a task has 1 to 1000 attempts, not " + std::to_string(options.attempts));
  }
  options.detachChildren = reader.getDetachChildren();
  options.output = reader.getOutput();
  if (options.output != OutputMode::LOG && options.output != OutputMode::STREAM &&
      options.output != OutputMode::PARCEL) {
    throw Error(Code::usage, "an unknown output mode");
  }
  options.stdinPath = pathOf(reader.getStdinPath(), "stdin");
  options.stdoutPath = pathOf(reader.getStdoutPath(), "stdout");
  options.stderrPath = pathOf(reader.getStderrPath(), "stderr");
  return options;
}

void writeAssign(const Task& task, const AssignOptions& how, ipc::Message& message) {
  const TaskOptions& options = *task.options;
  auto assign = message.frame().initAssign();
  assign.setTask(task.key);
  assign.setAttempt(task.attempt);
  assign.setSlot(task.running->slot);
  assign.setSlots(static_cast<std::uint16_t>(options.slots));
  writeWords(task.argv, assign.initArgv(static_cast<unsigned>(countWords(task.argv))));
  writeOptions(options, assign.initOptions());
  assign.getTerminal().setIsTerminal(task.terminals);
  assign.getTerminal().setForeground(task.foreground);
  assign.setSecret(task.running->secret);
  assign.setSocket(dataOf(how.socketPath));
  assign.setIoNice(static_cast<std::uint8_t>(how.ioNice));
  assign.setLabel(labelOf(task));
  if (!how.cgroup.empty()) assign.setCgroup(dataOf(how.cgroup));
  if (how.sameContext) {
    assign.getContext().setSame();
  } else {
    assign.getContext().setInline(task.context->get());
  }
}

}  // namespace baton::daemon
