#include "ipc/units.h"

#include <array>
#include <cstdio>
#include <span>

#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ipc {
namespace {

using std::chrono::nanoseconds;
using Wide = unsigned __int128;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// The greatest first. Years and months have no fixed length and are left out.
constexpr std::array<Unit, 8> kTimeUnits{{{"w", 604'800'000'000'000},
                                          {"d", 86'400'000'000'000},
                                          {"h", 3'600'000'000'000},
                                          {"m", 60'000'000'000},
                                          {"s", 1'000'000'000},
                                          {"ms", 1'000'000},
                                          {"us", 1'000},
                                          {"ns", 1}}};
constexpr std::array<Unit, 5> kSizeUnits{
    {{"P", 1ULL << 50}, {"T", 1ULL << 40}, {"G", 1ULL << 30}, {"M", 1ULL << 20}, {"K", 1ULL << 10}}};
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr Wide kMax = INT64_MAX;
// More digits than that name no finer value of any unit above, and fit 64 bits.
constexpr std::size_t kMaxFractionDigits = 18;

bool isDigit(char c) {
  return c >= '0' && c <= '9';
}

// digits [. digits]
struct Number {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;
  std::uint64_t fractionScale = 1;  // the fraction is fraction / fractionScale
  bool hasFraction = false;
};

// Takes digits off the front of `text`; false if there is none or the value is too great.
bool takeDigits(std::string_view& text, std::uint64_t& value, std::uint64_t* scale) {
  std::size_t count = 0;
  for (; count < text.size() && isDigit(text[count]); ++count) {
    if (scale != nullptr && count >= kMaxFractionDigits) continue;
    const Wide next = Wide{value} * 10 + static_cast<unsigned>(text[count] - '0');
    if (next > kMax) return false;
    value = static_cast<std::uint64_t>(next);
    if (scale != nullptr) *scale *= 10;
  }
  text.remove_prefix(count);
  return count > 0;
}

bool takeNumber(std::string_view& text, Number& number) {
  if (!takeDigits(text, number.whole, nullptr)) return false;
  if (text.empty() || text.front() != '.') return true;
  text.remove_prefix(1);
  number.hasFraction = true;
  return takeDigits(text, number.fraction, &number.fractionScale);
}

Wide scaled(const Number& number, std::uint64_t factor) {
  return Wide{number.whole} * factor + Wide{number.fraction} * factor / number.fractionScale;
}

std::string_view takeLetters(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && !isDigit(text[count]) && text[count] != '.') ++count;
  const std::string_view letters = text.substr(0, count);
  text.remove_prefix(count);
  return letters;
}

const char* plainUnit(std::uint64_t factor) {
  switch (factor) {
    case 604'800 * kSecond:
    case 86'400 * kSecond:
      return "d";
    case 3'600 * kSecond:
      return "h";
    case 60 * kSecond:
      return "min";
    case kSecond:
      return "s";
    case 1'000'000:
      return "ms";
    case 1'000:
      return "us";
    default:
      return "ns";
  }
}

// "1.2 s" below ten, else "12 s"; `value` is rounded to that already.
std::string tenths(std::uint64_t valueTenths, const char* unit) {
  std::string text = std::to_string(valueTenths / 10);
  if (valueTenths < 100 && valueTenths % 10 != 0) text += "." + std::to_string(valueTenths % 10);
  return text + " " + unit;
}

// value / factor in tenths, rounded to what tenths() shows. `value` is less than 2^60 times `factor`.
std::uint64_t roundedTenths(std::uint64_t value, std::uint64_t factor) {
  const Wide exact = Wide{value} * 10;
  const auto fine = static_cast<std::uint64_t>((exact + factor / 2) / factor);
  if (fine < 100) return fine;
  return static_cast<std::uint64_t>((Wide{value} + factor / 2) / factor) * 10;
}

// "3 min 20 s": the unit and the next smaller one, the latter left out when 0 or when the first is `alone` or
// more.
std::string twoUnits(std::uint64_t ns, std::uint64_t great, std::uint64_t small, std::uint64_t alone) {
  const bool single = ns / great >= alone;
  const std::uint64_t step = single ? great : small;
  const std::uint64_t rounded = (ns / step + (ns % step >= step - step / 2 ? 1 : 0)) * step;
  std::string text = std::to_string(rounded / great) + " " + plainUnit(great);
  const std::uint64_t rest = rounded % great / small;
  return rest == 0 ? text : text + " " + std::to_string(rest) + " " + plainUnit(small);
}

std::string formatPositive(std::uint64_t ns) {
  if (ns == 0) return "0 s";
  for (const std::uint64_t factor : {std::uint64_t{1}, std::uint64_t{1'000}, std::uint64_t{1'000'000}}) {
    if (ns >= 1'000 * factor) continue;
    const std::uint64_t shown = roundedTenths(ns, factor);
    if (shown < 10'000) return tenths(shown, plainUnit(factor));
  }
  const std::uint64_t seconds = roundedTenths(ns, kSecond);
  if (seconds < 600) return tenths(seconds, "s");
  constexpr std::uint64_t kMinute = 60 * kSecond;
  constexpr std::uint64_t kHour = 60 * kMinute;
  // From ten minutes or days on the smaller unit says nothing; 30 s below the hour it would round to "60
  // min".
  if (ns < kHour - kMinute / 2) return twoUnits(ns, kMinute, kSecond, 10);
  if (ns < 24 * kHour - kMinute / 2) return twoUnits(ns, kHour, kMinute, 24);
  return twoUnits(ns, 24 * kHour, kHour, 10);
}

}  // namespace

std::optional<nanoseconds> parseDuration(std::string_view text) {
  Wide total = 0;
  std::span<const Unit> units = kTimeUnits;
  bool first = true;
  while (first || !text.empty()) {
    Number number;
    if (!takeNumber(text, number)) return std::nullopt;
    const std::string_view letters = takeLetters(text);
    std::uint64_t factor = kSecond;
    if (!letters.empty()) {
      while (!units.empty() && units.front().name != letters) units = units.subspan(1);
      if (units.empty()) return std::nullopt;
      factor = units.front().factor;
      units = units.subspan(1);
    } else if (!first) {
      return std::nullopt;
    }
    if (number.hasFraction && !text.empty()) return std::nullopt;
    total += scaled(number, factor);
    if (total > kMax) return std::nullopt;
    first = false;
  }
  return nanoseconds(static_cast<std::int64_t>(total));
}

std::optional<std::uint64_t> parseSize(std::string_view text) {
  Number number;
  if (!takeNumber(text, number)) return std::nullopt;
  if (text.ends_with("iB")) {
    text.remove_suffix(2);
    if (text.empty()) return std::nullopt;
  }
  std::uint64_t factor = 1;
  if (text == "k") text = "K";
  if (!text.empty()) {
    for (const Unit& unit : kSizeUnits) {
      if (unit.name == text) factor = unit.factor;
    }
    if (factor == 1) return std::nullopt;
  }
  if (number.hasFraction && factor == 1) return std::nullopt;
  const Wide bytes = scaled(number, factor);
  if (bytes > kMax) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

nanoseconds durationOf(std::string_view what, std::string_view text) {
  if (const auto duration = parseDuration(text)) return *duration;
  throw Error(Code::usage,
              std::string(what) + ": '" + escape(text) + "' is not " + std::string(kDurationExpected));
}

std::uint64_t sizeOf(std::string_view what, std::string_view text) {
  if (const auto size = parseSize(text)) return *size;
  throw Error(Code::usage,
              std::string(what) + ": '" + escape(text) + "' is not " + std::string(kSizeExpected));
}

std::string formatDuration(nanoseconds duration) {
  const auto count = duration.count();
  if (count >= 0) return formatPositive(static_cast<std::uint64_t>(count));
  return "-" + formatPositive(0 - static_cast<std::uint64_t>(count));
}

std::string formatSize(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  static constexpr std::array<const char*, 6> kNames{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::uint64_t factor = 1024;
  for (std::size_t i = 0;; ++i, factor *= 1024) {
    const std::uint64_t shown = roundedTenths(bytes, factor);
    if (shown < 10'240 || i + 1 == kNames.size()) return tenths(shown, kNames[i]);
  }
}

std::string spellDuration(nanoseconds duration) {
  auto rest = static_cast<std::uint64_t>(duration.count());
  if (rest == 0) return "0";
  std::string text;
  for (const Unit& unit : kTimeUnits) {
    if (unit.name == "w" || rest < unit.factor) continue;
    text += std::to_string(rest / unit.factor).append(unit.name);
    rest %= unit.factor;
  }
  return text;
}

std::string spellSize(std::uint64_t bytes) {
  for (const Unit& unit : kSizeUnits) {
    if (bytes != 0 && bytes % unit.factor == 0) return std::to_string(bytes / unit.factor).append(unit.name);
  }
  return std::to_string(bytes);
}

}  // namespace baton::ipc
