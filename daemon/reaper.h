// Reaps this process's children: workers, and as a subreaper what dead workers left. A dead worker is
// reported to the pool once everything it left has ended, in its cgroup too, or after 10 s with the pids that
// could not be killed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/background.h"
#include "daemon/pool.h"

namespace baton::daemon {

class Reaper {
 public:
  // Blocks SIGCHLD must be by now; makes this process a subreaper.
  Reaper(Loop& loop, Pool& pool);

  std::uint64_t straysEnded() const { return straysEnded_; }
  // No child but holders is left.
  bool nothingLeft() const;
  // Called after each round; set once.
  std::function<void()> onChange;

 private:
  void childrenDied();
  void settle(bool giveUp);
  void endCgroup(const std::string& directory);
  std::vector<std::int32_t> escaped() const;
  bool spares(std::int32_t pid) const;

  Pool& pool_;
  Background background_;
  Source signal_;
  Source deadline_;
  std::vector<WorkerId> dead_;
  std::vector<std::string> cgroups_;  // of dead workers, not yet gone
  bool sweeping_ = false;
  std::uint64_t straysEnded_ = 0;
};

}  // namespace baton::daemon
