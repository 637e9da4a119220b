#include "daemon/worker/end_ladder.h"

#include <algorithm>

namespace baton::worker {

using ipc::wire::Cause;

void EndLadder::started(Time now) {
  if (limitNs_ != 0) limitAt_ = after(now, limitNs_);
}

void EndLadder::stopped(Time now) {
  if (stopped_ || limitAt_ == kNever) return;
  stopped_ = true;
  limitLeft_ = std::max(limitAt_ - now, Duration::zero());
  limitAt_ = kNever;
}

void EndLadder::continued(Time now) {
  if (!stopped_) return;
  stopped_ = false;
  limitAt_ = now + limitLeft_;
}

EndLadder::Rung EndLadder::kill() {
  killAt_ = kNever;
  if (killed_) return Rung::none;
  killed_ = true;
  return Rung::kill;
}

EndLadder::Rung EndLadder::cancel(Time now, std::uint64_t graceNs, Cause cause) {
  const bool first = cause_ == Cause::NONE;
  if (first) cause_ = cause;
  if (graceNs == 0) return kill();
  if (!killed_) killAt_ = std::min(killAt_, after(now, graceNs));
  return first ? Rung::terminate : Rung::none;
}

EndLadder::Rung EndLadder::timePassed(Time now) {
  if (cause_ == Cause::NONE && limitAt_ <= now) {
    limitAt_ = kNever;
    return cancel(now, graceNs_, Cause::TIME_LIMIT);
  }
  return killAt_ <= now ? kill() : Rung::none;
}

Time EndLadder::deadline() const {
  return cause_ == Cause::NONE ? limitAt_ : killAt_;
}

}  // namespace baton::worker
