// What may block, done on a thread of its own; its end is told on the loop.
#pragma once

#include <functional>
#include <memory>

#include "daemon/loop.h"

namespace baton::daemon {

class Background {
 public:
  explicit Background(Loop& loop);
  // Leaves a thread that is stuck in a job behind; the process is about to end.
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  // One job after the other. `job` must not touch what belongs to the loop; `done` is called on the loop.
  void run(std::function<void()> job, std::function<void()> done);

 private:
  struct Shared;
  void start();
  void collect();

  Loop& loop_;
  std::shared_ptr<Shared> shared_;  // with the thread, once there is one
  Source ready_;
};

}  // namespace baton::daemon
