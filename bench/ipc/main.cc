// ipc_bench [NAME...]: benchmarks of shared memory between processes; all, or those named.
#include <cstdio>
#include <string_view>

#include "bench/ipc/benches.h"

namespace {

struct Bench {
  std::string_view name;
  void (*run)();
};

constexpr Bench kBenches[] = {{"ring", baton::bench::ringBench}, {"lock", baton::bench::lockBench}};

}  // namespace

int main(int argc, char** argv) {
  bool any = false;
  for (const auto& bench : kBenches) {
    bool wanted = argc == 1;
    for (int i = 1; i < argc; ++i) wanted = wanted || bench.name == argv[i];
    if (!wanted) continue;
    any = true;
    bench.run();
  }
  if (any) return 0;
  std::fprintf(stderr, "usage: ipc_bench [ring] [lock]\n");
  return 2;
}
