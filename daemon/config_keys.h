// The one table of configuration keys: spelling, type, range, meaning, and how a value is stored and shown.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/config.h"

namespace baton::daemon {

// What `reload` does with a changed value.
enum class InForce { atOnce, newConnections, newWorkers, restart };

// Which member of Config; the type of the member is the type of the key.
using ConfigMember = std::variant<std::string Config::*,               // `slots`, the only text
                                  std::uint64_t Config::*,             // a count, or with `size` set bytes
                                  std::chrono::nanoseconds Config::*,  // a duration
                                  bool Config::*>;

struct ConfigKey {
  std::string_view name;
  ConfigMember member;
  bool size = false;  // a count that is spelled as a size
  // Inclusive; counts, bytes or nanoseconds.
  std::uint64_t least = 0;
  std::uint64_t most = 0;
  bool zeroToo = false;  // 0 is allowed below `least`: never, or without bound
  InForce inForce = InForce::atOnce;
  std::string_view meaning;
};

std::span<const ConfigKey> configKeys();
// nullptr: no such key.
const ConfigKey* findConfigKey(std::string_view name);

// As it would be written in the file, without quotes.
std::string configValue(const Config& config, const ConfigKey& key);
// "a duration such as ..., from 1s to 1d, or 0": what an error says of the key.
std::string configExpected(const ConfigKey& key);

}  // namespace baton::daemon
