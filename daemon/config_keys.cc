#include "daemon/config_keys.h"

#include <array>

#include "daemon/slots.h"
#include "ipc/frame.h"
#include "ipc/units.h"

namespace baton::daemon {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr std::uint64_t kSecond = 1'000 * kMillisecond;
constexpr std::uint64_t kDay = 86'400 * kSecond;
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kTiB = 1ULL << 40;

// Where no comment says otherwise a default comes from the design's list of limits, and the range's ends are
// where the daemon stops being useful (too small) or one machine ends (too large).
constexpr std::array kKeys{
    // All of the machine: that is what the pool is for.
    ConfigKey{.name = "slots",
              .member = &Config::slots,
              .meaning = "cores to keep busy: 8, -4 (all but four), +2 or 75%"},
    ConfigKey{.name = "io_tasks",
              .member = &Config::ioTasks,
              .least = 1,
              .most = 65'536,
              .inForce = InForce::restart,
              .meaning = "IO tasks that run at once, of each user"},
    // Some ten starts of a worker process (5 ms each): below, two users on one slot spend more on starting
    // than on
    // work.
    ConfigKey{.name = "quantum",
              .member = &Config::quantum,
              .least = kMillisecond,
              .most = 60 * kSecond,
              .inForce = InForce::restart,
              .meaning = "how long a slot stays with one user while others wait"},
    ConfigKey{.name = "parked",
              .member = &Config::parked,
              .least = 1,
              .most = 65'536,
              .inForce = InForce::restart,
              .meaning = "tasks of each user that may wait inside other tasks at once"},
    // As Kubernetes' and systemd's order of magnitude (30 s, 90 s), shortened for a person who looks on.
    ConfigKey{.name = "grace",
              .member = &Config::grace,
              .most = kDay,
              .meaning = "time between TERM and KILL, where a task sets none"},
    // Well below systemd's TimeoutStopSec of 90 s, after which it would kill.
    ConfigKey{.name = "stop_timeout",
              .member = &Config::stopTimeout,
              .most = kDay,
              .meaning = "how long running tasks may go on when the daemon is stopped"},
    ConfigKey{.name = "idle_exit",
              .member = &Config::idleExit,
              .least = kSecond,
              .most = 365 * kDay,
              .zeroToo = true,
              .meaning = "a user's daemon ends after this time without task and client; 0: never"},
    // A worker is our own small program: recycling is a precaution, and at 10,000 tasks costs nothing
    // measurable.
    ConfigKey{.name = "worker_max_tasks",
              .member = &Config::workerMaxTasks,
              .least = 1,
              .most = 1'000'000'000,
              .zeroToo = true,
              .meaning = "a worker is replaced after so many tasks; 0: never"},
    // A worker that only runs commands takes some 3 MiB: at 256 MiB something has leaked.
    ConfigKey{.name = "worker_max_memory",
              .member = &Config::workerMaxMemory,
              .size = true,
              .least = 16 * kMiB,
              .most = kTiB,
              .zeroToo = true,
              .meaning = "a worker that has itself grown larger is replaced; 0: never"},
    // Warm workers are why a second task has no start-up; idle they cost a few MiB and no CPU.
    ConfigKey{.name = "worker_idle",
              .member = &Config::workerIdle,
              .least = kSecond,
              .most = 365 * kDay,
              .zeroToo = true,
              .meaning = "an idle worker ends after this time; 0: it is kept warm"},
    ConfigKey{.name = "queue_limit",
              .member = &Config::queueLimit,
              .least = 1,
              .most = 100'000'000,
              .meaning = "tasks of each user that may wait in the queue"},
    // A thousand bytes for each of as many tasks as may wait.
    ConfigKey{.name = "argument_bytes",
              .member = &Config::argumentBytes,
              .size = true,
              .least = 4 * kMiB,
              .most = kTiB,
              .meaning = "memory of each user for the arguments of waiting and running tasks"},
    ConfigKey{.name = "finished_keep",
              .member = &Config::finishedKeep,
              .most = 10'000'000,
              .meaning = "finished tasks that are remembered; a batch counts as one"},
    ConfigKey{.name = "finished_age",
              .member = &Config::finishedAge,
              .least = kSecond,
              .most = 3'650 * kDay,
              .meaning = "how long a finished task is remembered"},
    // As many bytes for each of the 100,000 records of batches that are kept.
    ConfigKey{.name = "finished_bytes",
              .member = &Config::finishedBytes,
              .size = true,
              .most = kTiB,
              .meaning = "memory for the arguments of finished tasks; the oldest are forgotten first"},
    // Thirty-two of the largest contexts (2 MiB), or 16,000 usual ones.
    ConfigKey{.name = "context_bytes",
              .member = &Config::contextBytes,
              .size = true,
              .least = 4 * kMiB,
              .most = kTiB,
              .meaning = "memory of each user for environments and the like of waiting tasks"},
    ConfigKey{.name = "connections",
              .member = &Config::connections,
              .least = 4,
              .most = 65'536,
              .meaning = "connections of each user at once"},
    // Two of the largest frames at least: one that comes, and an answer.
    ConfigKey{.name = "in_flight_bytes",
              .member = &Config::inFlightBytes,
              .size = true,
              .least = 2 * kMiB,
              .most = kTiB,
              .meaning = "memory of each user for requests that come and answers not yet read"},
    // A context that travels in a frame takes 256 KiB. What a client builds, and what it takes, ends at 1M.
    ConfigKey{.name = "frame_bytes",
              .member = &Config::frameBytes,
              .size = true,
              .least = kMiB / 2,
              .most = ipc::kMaxFrameBytes,
              .inForce = InForce::newConnections,
              .meaning = "the largest request that is taken"},
    // A parcel and a context are the most that a request of ours has.
    ConfigKey{.name = "frame_fds",
              .member = &Config::frameFds,
              .least = 2,
              .most = ipc::kMaxFds,
              .inForce = InForce::newConnections,
              .meaning = "descriptors that may come with a request"},
    // A connection each for 256 of `run`, and room for a program that waits for thousands; a fifth of the
    // 20,000 that some containers allow a process.
    ConfigKey{.name = "descriptors",
              .member = &Config::descriptors,
              .least = 16,
              .most = 1'000'000,
              .meaning = "tasks of each user that may wait with descriptors of theirs, as `run` does, and "
                         "processes that hold locks"},
    ConfigKey{.name = "locks",
              .member = &Config::locks,
              .least = 1,
              .most = 1'000'000,
              .meaning = "named locks of each user"},
    ConfigKey{.name = "queues",
              .member = &Config::queues,
              .least = 1,
              .most = 1'000'000,
              .meaning = "named queues of each user"},
    // Four queues as large as they are by default.
    ConfigKey{.name = "queue_bytes",
              .member = &Config::queueBytes,
              .size = true,
              .least = kMiB,
              .most = kTiB,
              .meaning = "memory of each user for the messages of all queues"},
    // 256 connections with the largest rings there are take 129 MiB; with the smallest, 9.
    ConfigKey{.name = "ring_bytes",
              .member = &Config::ringBytes,
              .size = true,
              .least = 64 * 1024,
              .most = kTiB,
              .meaning = "memory of each user for the rings of connections"},
    ConfigKey{.name = "log_per_task",
              .member = &Config::logPerTask,
              .size = true,
              .least = 2 * kMiB,
              .most = kTiB,
              .inForce = InForce::newWorkers,
              .meaning = "output kept of one task: the first 1M, then the last"},
    ConfigKey{.name = "log_total",
              .member = &Config::logTotal,
              .size = true,
              .least = 2 * kMiB,
              .most = 1024 * kTiB,
              .meaning = "output kept of all tasks together; the oldest is dropped first"},
    // Off: to compare, or where a task has to stay in the cgroup of the daemon.
    ConfigKey{.name = "cgroups",
              .member = &Config::cgroups,
              .inForce = InForce::restart,
              .meaning = "a cgroup for each task, where they are delegated to the daemon"},
    // One budget for the machine: a second pool would break it.
    ConfigKey{.name = "user_daemons",
              .member = &Config::userDaemons,
              .inForce = InForce::restart,
              .meaning = "users may start daemons of their own beside the system's"},
};

std::string spell(const ConfigKey& key, std::uint64_t value) {
  if (std::holds_alternative<std::chrono::nanoseconds Config::*>(key.member)) {
    return ipc::spellDuration(std::chrono::nanoseconds(static_cast<std::int64_t>(value)));
  }
  return key.size ? ipc::spellSize(value) : std::to_string(value);
}

}  // namespace

std::span<const ConfigKey> configKeys() {
  return kKeys;
}

const ConfigKey* findConfigKey(std::string_view name) {
  for (const ConfigKey& key : kKeys) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::string configValue(const Config& config, const ConfigKey& key) {
  if (const auto* text = std::get_if<std::string Config::*>(&key.member)) return config.**text;
  if (const auto* flag = std::get_if<bool Config::*>(&key.member)) return config.**flag ? "true" : "false";
  if (const auto* count = std::get_if<std::uint64_t Config::*>(&key.member))
    return spell(key, config.**count);
  return ipc::spellDuration(config.*std::get<std::chrono::nanoseconds Config::*>(key.member));
}

std::string configExpected(const ConfigKey& key) {
  if (std::holds_alternative<std::string Config::*>(key.member)) return std::string(kSlotsExpected);
  if (std::holds_alternative<bool Config::*>(key.member)) return "true or false";
  std::string text = "a whole number";
  if (std::holds_alternative<std::chrono::nanoseconds Config::*>(key.member)) {
    text = ipc::kDurationExpected;
  } else if (key.size) {
    text = ipc::kSizeExpected;
  }
  text += ", from " + spell(key, key.least) + " to " + spell(key, key.most);
  return key.zeroToo ? text + ", or 0" : text;
}

}  // namespace baton::daemon
