#include "bench/ipc/compare.h"

#include <algorithm>
#include <cstdio>

namespace baton::bench {

void compare(const std::string& title, const std::vector<Contender>& contenders) {
  std::vector<std::vector<double>> runs(contenders.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) runs[i].push_back(contenders[i].run());
  }
  std::printf("\n%-44s %10s %10s %10s %12s %8s\n", title.c_str(), "ns median", "least", "most", "per second",
              "times");
  double first = 0;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    std::sort(runs[i].begin(), runs[i].end());
    const double median = runs[i][kRounds / 2];
    if (i == 0) first = median;
    std::printf("%-44s %10.1f %10.1f %10.1f %12.0f %8.2f\n", contenders[i].name.c_str(), median,
                runs[i].front(), runs[i].back(), 1e9 / median, median / first);
  }
  std::fflush(stdout);
}

}  // namespace baton::bench
