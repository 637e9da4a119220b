// The options that `run`, `submit` and `map` share, and what they make of a task and of its surroundings.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "ctl/arguments.h"
#include "ipc/surroundings.h"

namespace baton::ctl {

struct SubmitOptions {
  std::optional<std::string> directory;  // -C
  std::vector<std::string> environment;  // -E: NAME copies, NAME=VALUE sets
  bool emptyEnvironment = false;         // --env=none
  std::optional<std::string> stdinPath;  // -i, -o, -e
  std::optional<std::string> stdoutPath;
  std::optional<std::string> stderrPath;
  std::string name;
  int priority = 0;
  bool io = false;
  unsigned slots = 1;
  std::optional<std::chrono::nanoseconds> timeLimit;
  std::optional<std::chrono::nanoseconds> grace;
  std::optional<std::chrono::nanoseconds> queueLimit;
  bool held = false;
  unsigned attempts = 1;
  bool detachChildren = false;
  bool refuseToWait = false;  // -n

  // Those that make sense for a task on its own (run, submit); `map` declares its own subset.
  void declareSurroundings(Arguments& arguments);  // -C -E --env
  void declareFiles(Arguments& arguments);         // -i -o -e
  void declareTask(Arguments& arguments);          // all others

  // Throws Error(usage) for options that contradict each other.
  void check() const;
  // All but `output`.
  void fill(ipc::wire::TaskOptions::Builder options) const;
  // Those of this process with -C, -E and --env in force. Throws Error(usage) for a directory that is not
  // there and for a variable to copy that is not set.
  ipc::Surroundings surroundings() const;
};

}  // namespace baton::ctl
