// A context made ready: what the commands of one submitter have in common. Kept from task to task, so that a
// batch's tasks cost nothing but their own words.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "daemon/worker/launch.h"
#include "ipc/surroundings.h"

namespace baton::worker {

// Threads of a library that a task shall not start more of than it has slots, unless its environment says so.
inline constexpr std::array<const char*, 3> kThreadVariables{"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                                             "MKL_NUM_THREADS"};

class Context {
 public:
  // `own`: the worker's own surroundings, which a child inherits. Throws Error(protocol), kj::Exception.
  Context(ipc::wire::Context::Reader context, const ipc::Surroundings& own);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  const std::string& cwd() const { return wanted_.cwd; }
  // The context's own words, without those that baton sets anew for each task; pointers into this object.
  const std::vector<char*>& environment() const { return environment_; }
  // Those of kThreadVariables that the environment does not set.
  const std::vector<const char*>& threadVariables() const { return threadVariables_; }
  // PATH, or what execvp takes without one.
  const std::string& path() const { return path_; }

  // Fills in what differs from the worker's own surroundings. `extraNice` is added to the context's. The plan
  // points into this object, until the next call.
  void fill(LaunchPlan& plan, int extraNice);

 private:
  void readEnvironment();
  void findDifferences(const ipc::Surroundings& own);

  ipc::Surroundings wanted_;
  std::vector<char*> environment_;
  std::vector<const char*> threadVariables_;
  std::string path_;
  std::vector<LimitChange> limits_;
  std::vector<std::uint8_t> affinity_;  // empty: the worker's own
  int ownNice_;
  int nice_ = 0;
  int ioPriority_ = 0;
  bool setIoPriority_ = false;
};

// "open files (nofile)" and the like; what a message calls RLIMIT_ number `resource`.
std::string limitName(int resource);

}  // namespace baton::worker
