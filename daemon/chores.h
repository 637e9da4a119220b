// Work on very many things, done in slices between the turns of the loop: none holds it for long.
#pragma once

#include <deque>
#include <functional>

#include "daemon/loop.h"

namespace baton::daemon {

// A quarter of what one request may hold the loop for (1 ms): a turn may serve frames beside it.
constexpr std::chrono::nanoseconds kSlice = std::chrono::microseconds(250);

class Chores {
 public:
  // A small piece of the work: some ten microseconds. False: that was the last. Throws nothing.
  using Step = std::function<bool()>;

  explicit Chores(Loop& loop);

  // Does the first slice at once, the others in turn with those of other chores. True: all is done already.
  bool begin(Step step);

 private:
  void turn();

  std::deque<Step> chores_;
  Source source_;
};

}  // namespace baton::daemon
