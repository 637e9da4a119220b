#include "ctl/map_window.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

// A round trip to batonctl and back takes a tenth of a millisecond; a loaded machine may make it fifty.
constexpr double kAheadSeconds = 0.05;
// 64 short commands are given in one frame of some KiB; more at once gain nothing that can be measured.
constexpr std::uint32_t kMaxAhead = 64;
// Of the mean, for each new job.
constexpr double kWeight = 0.125;

}  // namespace

JobCount JobCount::parse(std::string_view text) {
  std::string_view digits = text;
  JobCount count;
  count.kind = Kind::number;
  if (digits.starts_with('+') || digits.starts_with('-')) {
    count.kind = digits[0] == '+' ? Kind::more : Kind::less;
    digits.remove_prefix(1);
  } else if (digits.ends_with('%')) {
    count.kind = Kind::percent;
    digits.remove_suffix(1);
  }
  const char* end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, count.value);
  constexpr std::uint32_t kMost = 1'000'000;
  if (error != std::errc{} || stopped != end || count.value > kMost) {
    throw Error(Code::usage,
                fmt::format("-j {}: expected a number of jobs such as 8, -1 (all slots but one), +2, "
                            "75% or 0 (as many as there can be)",
                            text));
  }
  return count;
}

std::uint32_t JobCount::resolve(std::uint32_t slots) const {
  switch (kind) {
    case Kind::number:
      return value;
    case Kind::more:
      return slots + value;
    case Kind::less:
      return value < slots ? slots - value : 1;
    case Kind::percent:
      break;
  }
  constexpr std::uint64_t kHundred = 100;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(std::uint64_t{slots} * value / kHundred, 1));
}

MapWindow::MapWindow(const JobCount& jobs, const Capacity& capacity, bool exact) {
  const std::uint32_t most =
      std::max<std::uint32_t>(capacity.io ? capacity.ioTasks : capacity.slots / capacity.slotsEach, 1);
  const std::uint32_t asked = jobs.resolve(capacity.slots);
  jobs_ = asked == 0 ? most : std::min(asked, most);
  exact_ = exact || capacity.io || jobs_ < most;
  if (asked <= most) {
    return;
  }
  if (capacity.io) {
    notice_ = fmt::format("at most {} IO jobs run at once (config io_tasks), not {}", most, asked);
  } else {
    notice_ = fmt::format(
        "{} job{} at once, not {}: more than the {} slot{} would only slow each other down; "
        "for jobs that wait rather than compute say --io",
        jobs_, jobs_ == 1 ? "" : "s", asked, capacity.slots, capacity.slots == 1 ? "" : "s");
  }
}

std::uint32_t MapWindow::size() const {
  if (exact_) {
    return jobs_;
  }
  const double ahead = std::min<double>(kMaxAhead, jobs_ * kAheadSeconds / std::max(meanSeconds_, 1e-6));
  const auto wanted = jobs_ + static_cast<std::uint32_t>(ahead);
  return std::clamp(wanted, 2 * jobs_, std::max(kMaxAhead, 2 * jobs_));
}

bool MapWindow::wantsMore(std::uint32_t unended) const {
  constexpr std::uint32_t kPart = 4;  // of the window: what is given at once at least
  const std::uint32_t least = exact_ ? 1 : std::max<std::uint32_t>((size() - jobs_) / kPart, 1);
  return unended + least <= size();
}

void MapWindow::ended(std::chrono::nanoseconds wall) {
  meanSeconds_ += (std::chrono::duration<double>(wall).count() - meanSeconds_) * kWeight;
}

}  // namespace baton::ctl
