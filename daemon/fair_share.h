// One uid's account of slot time in start-time fair queueing. For Scheduler alone.
//
// Its virtual time is the slot-seconds its tasks have had, each counted 100 / weight: who has the least of
// it is the next to be served. It grows by itself while tasks run, so nothing needs to know how long they
// will be, and nothing is stored per task.
#pragma once

#include <algorithm>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

class FairShare {
 public:
  static constexpr unsigned kDefaultWeight = 100;

  // Virtual seconds. A double has 10^-6 s left after a century on a thousand slots.
  double at(Time now) const { return virtualTime_ + perSlot(now - settledAt_) * running_; }

  // By what uids are compared: virtual time as if every running slot ran on for `lookahead`. Without it
  // slots that become free in one moment would all go to the one who is behind by a hair.
  double tag(Time now, Time lookahead) const { return at(now) + perSlot(lookahead) * running_; }

  void setWeight(unsigned weight, Time now) {
    settle(now);
    weight_ = std::max(weight, 1u);
  }
  void begin(unsigned slots, Time now) {
    settle(now);
    running_ += slots;
  }
  void end(unsigned slots, Time now) {
    settle(now);
    running_ -= slots;
  }
  // What was not used in time is gone; what was used too much stays.
  void liftTo(double virtualTime, Time now) {
    settle(now);
    virtualTime_ = std::max(virtualTime_, virtualTime);
  }

  // Slots that are charged now.
  unsigned running() const { return running_; }
  unsigned weight() const { return weight_; }

 private:
  double perSlot(Time time) const {
    return std::chrono::duration<double>(time).count() * kDefaultWeight / weight_;
  }
  void settle(Time now) {
    virtualTime_ = at(now);
    settledAt_ = now;
  }

  double virtualTime_ = 0;
  Time settledAt_{0};
  unsigned running_ = 0;
  unsigned weight_ = kDefaultWeight;
};

}  // namespace baton::daemon
