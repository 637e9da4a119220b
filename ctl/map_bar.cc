#include "ctl/map_bar.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "ctl/output.h"

namespace baton::ctl {
namespace {

// Fast enough to look alive, slow enough to cost nothing.
constexpr std::chrono::milliseconds kEvery{100};

void writeToStderr(const std::string& text) {
  [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

MapBar::MapBar(bool wanted) : enabled_(wanted && isTerminal(STDERR_FILENO)), next_(Clock::now()) {}

std::optional<std::chrono::milliseconds> MapBar::due() const {
  if (!enabled_) {
    return std::nullopt;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - Clock::now());
  return std::max(left, std::chrono::milliseconds{0});
}

void MapBar::draw(const map::Progress& progress, bool now) {
  if (!enabled_ || (!now && Clock::now() < next_)) {
    return;
  }
  writeToStderr(map::drawBar(progress, map::barStyle(terminalWidth(STDERR_FILENO).value_or(80))));
  shown_ = true;
  next_ = Clock::now() + kEvery;
}

void MapBar::clear() {
  if (!shown_) {
    return;
  }
  writeToStderr(map::clearBar());
  shown_ = false;
  next_ = Clock::now();
}

void MapBar::finish(const map::Progress& progress) {
  if (!enabled_) {
    return;
  }
  draw(progress, true);
  writeToStderr("\n");
  shown_ = false;
}

}  // namespace baton::ctl
