// The daemon's configuration: plain values, loaded from one TOML file and the drop-ins of a directory.
//
// Loading is all or nothing: any unknown key, wrong type, value out of range or syntax error is an
// Error(usage) of one line with file, line, key and what was expected, and what was loaded before stays in
// force. daemon/ config_keys.cc holds the one table of keys, ranges and meanings, and says where each
// default comes from.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace baton::daemon {

struct Config {
  std::string slots = "100%";  // spelled as -j; see daemon/slots.h
  std::uint64_t ioTasks = 256;
  std::chrono::nanoseconds quantum = std::chrono::milliseconds(50);
  std::uint64_t parked = 256;

  std::chrono::nanoseconds grace = std::chrono::seconds(10);
  std::chrono::nanoseconds stopTimeout = std::chrono::seconds(30);
  std::chrono::nanoseconds idleExit = std::chrono::minutes(10);  // 0: never

  std::uint64_t workerMaxTasks = 10'000;         // 0: any number
  std::uint64_t workerMaxMemory = 256ULL << 20;  // bytes of RSS; 0: any
  std::chrono::nanoseconds workerIdle{0};        // 0: kept for ever

  std::uint64_t queueLimit = 1'000'000;
  std::uint64_t argumentBytes = 1ULL << 30;
  std::uint64_t finishedKeep = 1'000;
  std::chrono::nanoseconds finishedAge = std::chrono::hours(7 * 24);
  std::uint64_t finishedBytes = 128ULL << 20;
  std::uint64_t contextBytes = 64ULL << 20;
  std::uint64_t connections = 256;
  std::uint64_t inFlightBytes = 64ULL << 20;
  std::uint64_t frameBytes = 1ULL << 20;
  std::uint64_t frameFds = 16;
  std::uint64_t descriptors = 4096;
  std::uint64_t locks = 1'000;
  std::uint64_t queues = 1'000;
  std::uint64_t queueBytes = 256ULL << 20;
  std::uint64_t ringBytes = 64ULL << 20;

  std::uint64_t logPerTask = 64ULL << 20;
  std::uint64_t logTotal = 1ULL << 30;

  bool cgroups = true;
  bool userDaemons = false;

  bool operator==(const Config&) const = default;
};

// A row of `batonctl config`. All are free of control characters but `source`, which is a path as it is.
struct ConfigLine {
  std::string key;
  std::string value;   // as it would be written in the file, without quotes
  std::string source;  // the file that set it, or "default"
  std::string meaning;
};

class LoadedConfig {
 public:
  // The defaults.
  LoadedConfig() = default;
  // Reads `mainFile`, then each *.toml of `dropInDirectory` in the order of their names; a later one wins,
  // key by key. What does not exist is left out. Throws Error(usage) as above, Error(system) for what
  // cannot be read.
  static LoadedConfig load(const std::string& mainFile, const std::string& dropInDirectory);

  const Config& values() const { return values_; }
  // Every key, in the order of the table.
  std::vector<ConfigLine> lines() const;

 private:
  friend class ConfigReader;
  Config values_;
  std::map<std::string, std::string> sources_;  // key -> file
};

// For `reload`: one line for each key whose value differs, "slots: 2 -> 4"; where the change is not in
// force at once it says so: "quantum: 50ms -> 1s (after a restart)".
std::vector<std::string> diffConfig(const Config& from, const Config& to);

}  // namespace baton::daemon
