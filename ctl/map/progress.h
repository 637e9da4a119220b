// `--bar`: one line about how far map is, for a terminal. Pure text; the caller decides when to draw.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace baton::ctl::map {

struct Progress {
  std::uint64_t done = 0;  // ended, failed ones included
  std::uint64_t failed = 0;
  std::uint64_t running = 0;
  std::optional<std::uint64_t> total;  // unknown while the input goes on
  std::chrono::nanoseconds elapsed{};
};

struct BarStyle {
  unsigned columns = 80;  // of the terminal
  bool color = true;
  bool utf8 = true;
};

// From NO_COLOR, TERM, and LC_ALL, LC_CTYPE, LANG of this process.
BarStyle barStyle(unsigned columns);

// One line without control characters but colours, at most `columns` - 1 wide, so that no terminal wraps it.
std::string renderBar(const Progress& progress, const BarStyle& style);

// To be written to the terminal: draws over the line drawn before, or takes it away so that other output can
// be written.
std::string drawBar(const Progress& progress, const BarStyle& style);
std::string clearBar();

}  // namespace baton::ctl::map
