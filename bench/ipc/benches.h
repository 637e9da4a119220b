// What main can run. Each prints its tables.
#pragma once

namespace baton::bench {

void ringBench();
void lockBench();

}  // namespace baton::bench
