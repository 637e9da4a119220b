// Runs contenders in turn, so that what the machine does meanwhile meets all alike, and prints their medians.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace baton::bench {

// Nine, an odd number: the median is a run that was.
inline constexpr int kRounds = 9;

struct Contender {
  std::string name;
  // One run; what it cost, in nanoseconds for each operation.
  std::function<double()> run;
};

// The first is what the others are compared with.
void compare(const std::string& title, const std::vector<Contender>& contenders);

}  // namespace baton::bench
