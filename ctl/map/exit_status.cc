#include "ctl/map/exit_status.h"

#include <algorithm>

namespace baton::ctl::map {

int JobEnd::status() const {
  if (timedOut) return 124;
  return signal != 0 ? 128 + signal : exitCode;
}

int failureStatus(std::uint64_t failed) {
  return static_cast<int>(std::min<std::uint64_t>(failed, 101));
}

int failurePercent(std::uint64_t failed, std::uint64_t total) {
  if (total == 0) return 0;
  return static_cast<int>((std::min(failed, total) * 100 + total - 1) / total);
}

}  // namespace baton::ctl::map
