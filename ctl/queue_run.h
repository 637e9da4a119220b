// `batonctl queue run` in progress: messages become tasks on the pool, and are acknowledged when those
// succeed.
//
// 1. A message is leased for as long as this process lives: it comes back if batonctl dies, and only then or
// when
//    its command fails.
// 2. No more messages are held than commands may run.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctl/map_window.h"
#include "ctl/queue_client.h"
#include "ctl/submit_options.h"

namespace baton::ctl {

struct QueueRunOptions {
  SubmitOptions task;
  JobCount jobs;
  bool raw = false;
  WaitOptions wait;
  std::optional<std::chrono::nanoseconds> delay;  // of a failed one, before it is tried again
  std::vector<std::string> command;
};

class QueueRun {
 public:
  QueueRun(QueueClient& queue, const QueueRunOptions& options);
  // Until the queue is closed and empty, or the time to wait is over, and all commands have ended: the exit
  // code.
  int run();

 private:
  void askForMore();
  void takeMessages(ipc::wire::QueueMessages::Reader reply);
  void start(ipc::wire::QueueMessage::Reader message);
  void ended(std::uint64_t request, ipc::wire::TaskRow::Reader row);
  void settle(std::uint64_t lease, bool success);

  QueueClient& queue_;
  const QueueRunOptions& options_;
  ipc::Surroundings surroundings_;
  std::size_t most_;
  std::map<std::uint64_t, std::uint64_t> running_;  // request -> lease
  std::uint64_t getRequest_ = 0;                    // 0: none is under way
  bool noMore_ = false;
  bool idle_ = false;  // there was nothing more; a command that fails may change that
  int endCode_ = 0;    // why there are no more messages
  int highest_ = 0;
};

}  // namespace baton::ctl
