// One command made ready to be launched: its words, its environment, its places to look for the program.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/worker/context.h"
#include "daemon/worker/launch.h"

namespace baton::worker {

// How a task ended, or why it did not start.
struct Outcome {
  ipc::wire::Cause cause = ipc::wire::Cause::NONE;
  int exitCode = 0;
  int signal = 0;
  bool coreDumped = false;
  std::string detail;
};

class Command {
 public:
  // `context` must outlive the command. Throws Error(protocol) for words no honest daemon sends,
  // kj::Exception.
  Command(ipc::wire::Assign::Reader assign, Context& context);
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // The descriptor `number` shall be `fd`, unless the options name a file for it. `fd` stays the caller's.
  void useDescriptor(int number, int fd);
  // True if a file is named for standard descriptor `number`.
  bool hasPath(int number) const { return !paths_[static_cast<std::size_t>(number)].empty(); }
  // True if opening one of the named files may block: then the worker must not launch by itself.
  bool mayBlockToOpen() const;
  // To be completed (terminal, cgroup) by the caller. Valid while the command lives.
  LaunchPlan& plan() { return plan_; }
  // What `failure` means, in a sentence that names what was asked and what is wrong.
  Outcome explain(const LaunchFailure& failure) const;

 private:
  void readArgv(ipc::wire::Assign::Reader assign);
  void readPaths(ipc::wire::TaskOptions::Reader options);
  void findCandidates();
  void buildEnvironment(ipc::wire::Assign::Reader assign);
  std::string absolute(const std::string& path) const;
  bool isMissing(const LaunchFailure& failure) const;
  Outcome explainMissing() const;
  Outcome explainNotExecutable(const LaunchFailure& failure) const;
  Outcome explainOpen(const LaunchFailure& failure) const;

  Context& context_;
  std::vector<std::string> words_;
  std::vector<char*> argv_;
  std::vector<char*> shellArgv_;
  std::vector<std::string> candidates_;
  std::vector<const char*> candidatePointers_;
  std::vector<std::string> variables_;
  std::vector<char*> environment_;
  std::array<std::string, 3> paths_;
  LaunchPlan plan_;
};

}  // namespace baton::worker
