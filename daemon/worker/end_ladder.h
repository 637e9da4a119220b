// When a task is to be ended: its time limit, a cancel, and the grace between TERM and KILL. Pure; the time
// goes in, what is to be done comes out.
//
// 1. The first reason stands: a task that ran into its limit and is cancelled then has run into its limit.
// 2. While the task is stopped its time limit stands still; the grace does not.
#pragma once

#include <cstdint>

#include "daemon/worker/time.h"
#include "ipc/baton.capnp.h"

namespace baton::worker {

class EndLadder {
 public:
  // In nanoseconds; a limit of 0: none.
  EndLadder(std::uint64_t limitNs, std::uint64_t graceNs) : limitNs_(limitNs), graceNs_(graceNs) {}

  enum class Rung { none, terminate, kill };

  void started(Time now);
  void stopped(Time now);
  void continued(Time now);
  // `graceNs` 0: KILL at once. A later cancel can only shorten the grace.
  [[nodiscard]] Rung cancel(Time now, std::uint64_t graceNs, ipc::wire::Cause cause);
  [[nodiscard]] Rung timePassed(Time now);
  // When timePassed is to be called next.
  Time deadline() const;
  // Why the task is being ended; NONE: it is not.
  ipc::wire::Cause cause() const { return cause_; }

 private:
  Rung kill();

  std::uint64_t limitNs_;
  std::uint64_t graceNs_;
  Time limitAt_ = kNever;
  Duration limitLeft_{};  // while stopped
  bool stopped_ = false;
  Time killAt_ = kNever;
  bool killed_ = false;
  ipc::wire::Cause cause_ = ipc::wire::Cause::NONE;
};

}  // namespace baton::worker
