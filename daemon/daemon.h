// batond put together: owns every part, decides when the whole begins and ends.
#pragma once

#include <cstdlib>
#include <optional>

#include "daemon/cgroup_tree.h"
#include "daemon/closer.h"
#include "daemon/guard.h"
#include "daemon/lock_requests.h"
#include "daemon/log.h"
#include "daemon/queue_requests.h"
#include "daemon/reaper.h"
#include "daemon/requests.h"
#include "daemon/startup.h"

namespace baton::daemon {

struct DaemonOptions {
  ipc::Places places;
  std::string configFile;
  std::string dropInDirectory;
  std::string workerProgram;
  const Guard* guard = nullptr;    // must be set; outlives the daemon
  bool delegated = false;          // our cgroup is, says who started us
  std::vector<std::string> notes;  // what could not be had so far
};

class Daemon final : public Control {
 public:
  // Ready to serve when it returns. SIGCHLD, SIGTERM, SIGINT and SIGHUP must be blocked. Throws Error.
  Daemon(Loop& loop, const Log& log, const DaemonOptions& options);
  ~Daemon() override;

  // Until the daemon has ended in order: the exit code.
  int run();
  const std::string& socketPath() const { return socket_.path(); }

  // Control
  void setDraining(bool draining) override;
  bool draining() const override { return draining_; }
  void stop(bool now) override;
  bool stopping() const override { return stopping_; }
  std::vector<std::string> reload() override;
  const LoadedConfig& config() const override { return config_; }
  void fillStatus(ipc::wire::Status::Builder status) const override;
  std::string noticeOnce() override;

 private:
  enum class End { no, draining, cancelling, killing };
  void endOfTurn();
  void watchIdle();
  void watchAge();
  void armIdleTimer();
  void dropBatches();
  void idleTimeout();
  void cancelAll();
  void endNow();
  void finishIfDone();
  void tellSystemd();
  PoolOptions poolOptions() const;
  void makeCgroups();
  std::string treeEnd() const;

  Loop& loop_;
  const Log& log_;
  DaemonOptions options_;
  LoadedConfig config_;
  std::chrono::nanoseconds startedAt_;
  std::string slotsReason_;
  Closer closer_;
  CgroupTree cgroups_;
  std::string whyNoCgroups_;
  IdCounter ids_;
  LogStore logs_;
  Registry registry_;
  Scheduler scheduler_;
  Pool pool_;
  Reaper reaper_;
  NullStore store_;
  ContextTable contexts_;
  Dispatcher dispatcher_;
  Chores chores_;  // may hold what is the dispatcher's
  Subscriptions subscriptions_;
  QueueRequests queues_;
  LockRequests locks_;
  ObjectDispatch objects_;
  Requests requests_;
  ListeningSocket socket_;
  Server server_;
  bool draining_ = false;
  bool stopping_ = false;
  bool noticed_ = false;
  End end_ = End::no;
  bool idle_ = false;
  std::chrono::nanoseconds idleSince_{};
  bool idleArmed_ = false;
  bool dropping_ = false;
  const bool notifies_ = ::getenv("NOTIFY_SOCKET") != nullptr;
  std::string lastStatus_;
  Source turnEnd_;
  Source idleTimer_;
  Source endTimer_;
  Source tidy_;
  Source ageTimer_;
  bool ageWatched_ = false;
  Source statusTimer_;
  std::vector<Source> signals_;
};

}  // namespace baton::daemon
