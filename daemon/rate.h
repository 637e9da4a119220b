// How often something happens: events a second over the last minute.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

class Rate {
 public:
  explicit Rate(Time now) : begun_(now), at_(indexOf(now)) {}

  void add(std::uint64_t count, Time now) {
    turnTo(indexOf(now));
    counts_[static_cast<std::size_t>(at_ % kParts)] += count;
  }
  double perSecond(Time now) const {
    Rate turned = *this;
    turned.turnTo(indexOf(now));
    std::uint64_t sum = 0;
    for (const std::uint64_t count : turned.counts_) sum += count;
    // The present part is not over; before that the queue may not have been there.
    const Time covered = std::min(now - begun_, (kParts - 1) * kPart + now % kPart);
    return static_cast<double>(sum) / std::max(std::chrono::duration<double>(covered).count(), 1.0);
  }

 private:
  // Twelve parts of five seconds: a minute, to within one part.
  static constexpr std::int64_t kParts = 12;
  static constexpr Time kPart = std::chrono::seconds(5);
  static std::int64_t indexOf(Time now) { return now / kPart; }

  void turnTo(std::int64_t index) {
    if (index - at_ >= kParts) {
      counts_.fill(0);
      at_ = index;
    }
    while (at_ < index) counts_[static_cast<std::size_t>(++at_ % kParts)] = 0;
  }

  Time begun_;
  std::int64_t at_;
  std::array<std::uint64_t, kParts> counts_{};
};

}  // namespace baton::daemon
