#include "daemon/chores.h"

#include <utility>

namespace baton::daemon {
namespace {

// True: it is done.
bool slice(const Chores::Step& step) {
  const auto end = monotonicNow() + kSlice;
  do {
    if (!step()) return true;
  } while (monotonicNow() < end);
  return false;
}

}  // namespace

Chores::Chores(Loop& loop) : source_(loop.onTurn([this] { turn(); })) {}

bool Chores::begin(Step step) {
  if (slice(step)) return true;
  chores_.push_back(std::move(step));
  source_.enable(true);
  return false;
}

void Chores::turn() {
  if (chores_.empty()) return;
  Step step = std::move(chores_.front());
  chores_.pop_front();
  if (!slice(step)) chores_.push_back(std::move(step));
  if (!chores_.empty()) source_.enable(true);
}

}  // namespace baton::daemon
