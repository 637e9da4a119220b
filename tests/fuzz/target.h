// What every fuzz target defines. Under clang's libFuzzer it is called from LLVMFuzzerTestOneInput, elsewhere
// from replay_main.cc.
#pragma once

#include <cstdint>
#include <span>

// One input. Aborts on a broken promise; must not throw and must not keep anything for the next one.
void fuzzOne(std::span<const std::uint8_t> input);
