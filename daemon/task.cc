#include "daemon/task.h"

#include "ipc/exit_code.h"

namespace baton::daemon {

std::vector<std::string_view> splitArgv(std::string_view joined) {
  std::vector<std::string_view> words;
  while (!joined.empty()) {
    const auto end = joined.find('\0');
    words.push_back(joined.substr(0, end));
    joined.remove_prefix(end + 1);
  }
  return words;
}

std::string labelOf(const Task& task) {
  std::string label = std::to_string(task.number);
  if (task.batch != nullptr) label += "." + std::to_string(task.index);
  return label;
}

std::size_t bytesOf(const Task& task) {
  if (task.batch != nullptr || !task.options) return task.argv.size();
  const TaskOptions& options = *task.options;
  return task.argv.size() + options.name.size() + options.stdinPath.size() + options.stdoutPath.size() +
         options.stderrPath.size();
}

State stateOf(const Outcome& outcome) {
  switch (outcome.cause) {
    case Cause::EXITED:
      return outcome.exitCode == 0 ? State::SUCCEEDED : State::FAILED;
    case Cause::TIME_LIMIT:
    case Cause::QUEUE_LIMIT:
      return State::TIMED_OUT;
    case Cause::CANCELLED:
    case Cause::CLIENT_GONE:
    case Cause::DAEMON_STOPPED:
      return State::CANCELLED;
    default:
      return State::FAILED;
  }
}

int exitCodeOf(const Outcome& outcome) {
  return ipc::exitCodeOf({stateOf(outcome), outcome.cause, outcome.exitCode, outcome.signal});
}

}  // namespace baton::daemon
