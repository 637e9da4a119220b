// The progress line of `map --bar` on a terminal: when to draw it, and to take it away for other output.
#pragma once

#include <chrono>
#include <optional>

#include "ctl/map/progress.h"

namespace baton::ctl {

class MapBar {
 public:
  // Does nothing at all unless `wanted` and stderr is a terminal.
  explicit MapBar(bool wanted);
  ~MapBar() { clear(); }
  MapBar(const MapBar&) = delete;
  MapBar& operator=(const MapBar&) = delete;

  bool enabled() const { return enabled_; }
  // How long until it is to be drawn again; nullopt: never.
  std::optional<std::chrono::milliseconds> due() const;
  // Draws if it is due, or anyway if `now`.
  void draw(const map::Progress& progress, bool now = false);
  // Takes the line away, for output that follows.
  void clear();
  // Leaves the last line standing, and goes to the next.
  void finish(const map::Progress& progress);

 private:
  using Clock = std::chrono::steady_clock;
  bool enabled_;
  bool shown_ = false;
  Clock::time_point next_;
};

}  // namespace baton::ctl
