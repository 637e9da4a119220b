#include "ctl/map/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace baton::ctl::map {
namespace {

constexpr std::size_t kMinBarColumns = 8;
constexpr std::size_t kMaxBarColumns = 40;
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kPlain = "\x1b[0m";

std::string clockText(std::chrono::nanoseconds time) {
  const auto all = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  const auto hours = all / 3600;
  const auto minutes = all / 60 % 60;
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, all % 60);
  return fmt::format("{}:{:02}", minutes, all % 60);
}

double secondsOf(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

struct Part {
  std::string text;
  bool alarming = false;
};

// What is said besides bar and counts, the most wanted first.
std::vector<Part> details(const Progress& progress) {
  std::vector<Part> parts;
  if (progress.failed > 0) parts.push_back({fmt::format("{} failed", progress.failed), true});
  const double elapsed = secondsOf(progress.elapsed);
  if (progress.total && progress.done > 0 && progress.done < *progress.total) {
    const auto left = static_cast<double>(*progress.total - progress.done);
    const std::chrono::duration<double> wait(elapsed * left / static_cast<double>(progress.done));
    if (wait < std::chrono::hours(1000)) {
      parts.push_back({clockText(std::chrono::duration_cast<std::chrono::nanoseconds>(wait)) + " left"});
    }
  }
  parts.push_back({fmt::format("{} running", progress.running)});
  if (elapsed > 0 && progress.done > 0) {
    const double rate = static_cast<double>(progress.done) / elapsed;
    parts.push_back({rate < 10 ? fmt::format("{:.1f}/s", rate) : fmt::format("{:.0f}/s", rate)});
  }
  parts.push_back({clockText(progress.elapsed)});
  return parts;
}

std::string barText(double share, std::size_t columns, const BarStyle& style) {
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(columns));
  std::string text;
  if (style.color) text += kGreen;
  for (std::size_t i = 0; i < columns; ++i) {
    if (i == filled && style.color) text += kPlain;
    if (style.utf8) {
      text += i < filled ? "━" : "─";
    } else {
      text += i < filled ? '#' : '-';
    }
  }
  if (style.color) text += kPlain;
  return text;
}

double shareOf(const Progress& progress) {
  if (!progress.total) return 0;
  if (*progress.total == 0) return 1;
  return std::min(1.0, static_cast<double>(progress.done) / static_cast<double>(*progress.total));
}

}  // namespace

BarStyle barStyle(unsigned columns) {
  const auto valueOf = [](const char* name) -> std::string_view {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  BarStyle style;
  style.columns = columns;
  style.color = valueOf("NO_COLOR").empty() && valueOf("TERM") != "dumb";
  style.utf8 = false;
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view locale = valueOf(name);
    if (locale.empty()) continue;
    for (const std::string_view charset : {"UTF-8", "utf-8", "UTF8", "utf8"}) {
      style.utf8 |= locale.find(charset) != locale.npos;
    }
    break;
  }
  return style;
}

std::string renderBar(const Progress& progress, const BarStyle& style) {
  const std::size_t columns = style.columns > 1 ? style.columns - 1 : 0;
  const double share = shareOf(progress);
  const auto percent = static_cast<int>(std::floor(share * 100));
  const std::string counts = progress.total
                                 ? fmt::format("{:3}% {}/{}", percent, progress.done, *progress.total)
                                 : fmt::format("{} done", progress.done);
  if (counts.size() > columns) return progress.total && columns >= 4 ? counts.substr(0, 4) : "";

  const std::size_t reserved = progress.total ? kMinBarColumns + 1 : 0;
  std::size_t used = counts.size();
  std::string tail;
  for (const Part& part : details(progress)) {
    const std::size_t width = 2 + part.text.size();
    if (used + width + (used + reserved <= columns ? reserved : 0) > columns) break;
    used += width;
    tail += "  ";
    tail += part.alarming && style.color ? fmt::format("{}{}{}", kRed, part.text, kPlain) : part.text;
  }
  std::string bar;
  if (progress.total && used + reserved <= columns) {
    bar = barText(share, std::min(kMaxBarColumns, columns - used - 1), style) + ' ';
  }
  return bar + counts + tail;
}

std::string drawBar(const Progress& progress, const BarStyle& style) {
  return '\r' + renderBar(progress, style) + "\x1b[K";
}

std::string clearBar() {
  return "\r\x1b[K";
}

}  // namespace baton::ctl::map
