#include "daemon/slots.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <vector>

#include "daemon/cpu_quota.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::daemon {
namespace {

// 0: it cannot be read.
unsigned affinityCpus() {
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const std::size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) {
      return static_cast<unsigned>(CPU_COUNT_S(bytes, mask.data()));
    }
    if (errno != EINVAL) break;
  }
  return 0;
}

std::string cpus(unsigned count) {
  return std::to_string(count) + (count == 1 ? " CPU" : " CPUs");
}

unsigned apply(const SlotSpelling& spelling, unsigned machine) {
  switch (spelling.kind) {
    case SlotSpelling::Kind::absolute:
      return spelling.number;
    case SlotSpelling::Kind::less:
      return machine > spelling.number ? machine - spelling.number : 1;
    case SlotSpelling::Kind::more:
      return std::min(machine + spelling.number, kMaxSlots);
    case SlotSpelling::Kind::percent:
      break;
  }
  return static_cast<unsigned>(
      std::clamp<std::uint64_t>(std::uint64_t{machine} * spelling.number / 100, 1, kMaxSlots));
}

}  // namespace

std::optional<SlotSpelling> parseSlots(std::string_view text) {
  SlotSpelling spelling{.kind = SlotSpelling::Kind::absolute, .number = 0};
  unsigned most = kMaxSlots;
  if (text.starts_with('-') || text.starts_with('+')) {
    spelling.kind = text.front() == '-' ? SlotSpelling::Kind::less : SlotSpelling::Kind::more;
    text.remove_prefix(1);
  } else if (text.ends_with('%')) {
    spelling.kind = SlotSpelling::Kind::percent;
    text.remove_suffix(1);
    most = 10'000;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), spelling.number);
  if (error != std::errc{} || end != text.data() + text.size() || spelling.number > most) return std::nullopt;
  const bool relative =
      spelling.kind == SlotSpelling::Kind::less || spelling.kind == SlotSpelling::Kind::more;
  if (spelling.number == 0 && !relative) return std::nullopt;
  return spelling;
}

SlotCount countSlots(std::string_view spelling, const SlotSources& sources) {
  const auto parsed = parseSlots(spelling);
  if (!parsed) {
    throw Error(Code::usage, "slots: '" + ipc::escape(spelling) + "' is not " + std::string(kSlotsExpected));
  }
  const unsigned mask = sources.affinity ? *sources.affinity : affinityCpus();
  unsigned machine = std::clamp(mask, 1U, kMaxSlots);
  std::string reason =
      mask == 0 ? "the affinity mask cannot be read" : cpus(machine) + " in the affinity mask";
  if (const auto quota = cpuQuotaPercent(sources.procSelf, sources.root)) {
    // Rounded up: of 1.5 CPUs the half would be wasted, and with two slots nothing is worse than half as
    // fast.
    const auto allowed =
        static_cast<unsigned>(std::clamp(std::ceil(*quota / 100 - 1e-9), 1.0, double{kMaxSlots}));
    reason += ", cgroup quota " + std::to_string(std::lround(std::min(*quota, 1e9))) + "% allows " +
              std::to_string(allowed);
    machine = std::min(machine, allowed);
  }
  const unsigned slots = apply(*parsed, machine);
  if (spelling != "100%")
    reason += "; config slots = " + std::string(spelling) + " makes " + std::to_string(slots);
  return {.slots = slots, .reason = reason};
}

}  // namespace baton::daemon
