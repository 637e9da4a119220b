// What the verbs about locks ask the daemon, and how they say what it answers.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "ipc/client.h"
#include "shm/fd.h"

namespace baton::ctl {

struct LockSpec {
  std::string name;
  ipc::wire::LockKind kind = ipc::wire::LockKind::RWLOCK;
  unsigned permits = 1;
  bool bounded = false;
  bool counting = false;
  bool handOff = false;
  bool refuseAbandoned = false;
  unsigned mode = 0600;
  bool create = false;
  bool exclusive = false;  // it must be new
  bool keep = false;
  bool anyKind = false;
};

struct OpenedLock {
  std::uint32_t handle = 0;
  ipc::wire::LockKind kind = ipc::wire::LockKind::MUTEX;
  unsigned permits = 1;
  // Held for as long as a lock may be: no newer daemon grants one meanwhile. Children inherit it.
  shm::Fd generation;
};

OpenedLock openLock(ipc::Client& client, const LockSpec& spec);

struct LockWish {
  bool shared = false;
  std::optional<std::chrono::nanoseconds> timeout;  // 0: do not wait; none: for ever
  int pidfd = -1;                                   // of the process that is to hold it; not owned
};
// The fencing token; nullopt: not to be had in time. Where it waits on a terminal it says at once for whom.
// Says so if the lock was abandoned.
std::optional<std::uint64_t> acquireLock(ipc::Client& client, const LockSpec& spec, const OpenedLock& lock,
                                         const LockWish& wish);

void releaseLock(ipc::Client& client, const OpenedLock& lock, bool shared, std::uint64_t token);

// "abandoned by pid 4711 (make) of anna 12 s ago, after 3 s".
std::string abandonmentText(ipc::wire::Abandonment::Reader told);
std::string lockKindName(ipc::wire::LockKind kind);
// Throws Error(usage).
ipc::wire::LockKind lockKindOf(const std::string& name);

}  // namespace baton::ctl
