// The arrival of a task's own descriptors: in a parcel from its client, and where one is a terminal the
// making of the pseudo-terminal that the client sets up before the command may start.
#pragma once

#include <array>
#include <optional>

#include "daemon/worker/command.h"
#include "daemon/worker/time.h"
#include "shm/fd.h"

namespace baton::worker {

class Arrival {
 public:
  // Takes the worker's end of the parcel.
  Arrival(shm::Fd parcel, Time now);

  enum class State { waiting, complete, failed };
  // Goes on as far as it can without blocking.
  State step(Time now);
  // To be polled for input while waiting.
  int fd() const { return parcel_.get(); }
  Time deadline() const { return deadline_; }
  // Why it failed.
  const Outcome& failure() const { return failure_; }

  // Once complete: what the command's descriptors shall be; valid while this lives.
  int descriptor(int number) const;
  // The task's side of the terminal; -1: it has none.
  int terminal() const { return terminal_.get(); }

 private:
  State advance();

  shm::Fd parcel_;
  Time deadline_;
  std::array<shm::Fd, 3> fds_;
  shm::Fd terminal_;
  bool arrived_ = false;
  Outcome failure_;
};

}  // namespace baton::worker
