// Durations and sizes as people write and read them. Pure functions; any thread.
//
// A duration is a sequence of numbers with units, the greatest first, each unit once: `90s 5m 1h30m 500ms
// 7d`; units are w d h m s ms us ns. A number alone is seconds. A size is a number with at most one of the
// suffixes K M G T P (powers of 1024; `k` and `KiB` too). The last or only number may have a fraction:
// `0.5`, `1.5G`. Nothing else is accepted: no sign, no blank, no `GB` (1000 or 1024?).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::ipc {

inline constexpr std::string_view kDurationExpected =
    "a duration such as 90 (seconds), 500ms, 5m, 1h30m or 7d";
inline constexpr std::string_view kSizeExpected = "a size such as 512K, 64M or 2G";

// Empty if `text` is no duration, or one of more than 292 years. A fraction of a nanosecond is cut off.
std::optional<std::chrono::nanoseconds> parseDuration(std::string_view text);
// In bytes. Empty if `text` is no size, or one of 2^63 bytes or more.
std::optional<std::uint64_t> parseSize(std::string_view text);

// As above; throws Error(usage) that begins with `what`, as "--timeout", and says what was expected.
std::chrono::nanoseconds durationOf(std::string_view what, std::string_view text);
std::uint64_t sizeOf(std::string_view what, std::string_view text);

// For people, rounded to what matters: "0 s", "250 ms", "1.2 s", "3 min 20 s", "3 min", "1 h 30 min", "7
// d". ASCII.
std::string formatDuration(std::chrono::nanoseconds duration);
// For people, rounded: "512 B", "1.5 KiB", "64 MiB".
std::string formatSize(std::uint64_t bytes);

// Exact, in the spelling that the parsers take: "1h30m", "64M"; parsed again it is the same value.
// `duration` >= 0.
std::string spellDuration(std::chrono::nanoseconds duration);
std::string spellSize(std::uint64_t bytes);

}  // namespace baton::ipc
