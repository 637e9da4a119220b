// The words of the lock table.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "daemon/scheduler_types.h"
#include "ipc/error.h"

namespace baton::daemon {

using LockId = std::uint32_t;      // of one daemon's life; never used again
using LockClient = std::uint64_t;  // whose end gives locks back: a session, a bound process, a task
using LockWait = std::uint64_t;    // an acquire that has no answer yet; the caller's number

// Every waiter of a condition.
inline constexpr unsigned kEverybody = std::numeric_limits<unsigned>::max();

enum class LockKind : std::uint8_t { mutex, rlock, semaphore, rwlock, condition, event, barrier };
enum class LockMode : std::uint8_t { exclusive, shared };

// See LockOptions in ipc/objects.capnp.
struct LockOptions {
  LockKind kind = LockKind::mutex;
  unsigned permits = 1;
  bool bounded = false;
  bool counting = false;
  bool handOff = false;
  bool refuseAbandoned = false;
};

// Who owns or waits: a thread of a client, as the client counts its threads.
struct LockParty {
  LockClient client = 0;
  std::uint32_t thread = 0;
  auto operator<=>(const LockParty&) const = default;  // NOLINT(modernize-use-nullptr): its own zero
};

// What is shown of a party, also after its end. Shared by all that a client holds.
struct LockWho {
  Uid uid = 0;
  std::int32_t pid = 0;
  std::string program;
  TaskId task = 0;
};

// The owner that went without releasing.
struct LockAbandonment {
  std::shared_ptr<const LockWho> who;
  std::uint32_t thread = 0;
  Time heldSince{0};
  Time endedAt{0};
  bool treeMayLive = false;
  bool broken = false;  // an operator took it: the owner may still be at work
};

struct LockAcquire {
  LockWait wait = 0;
  LockParty party;
  std::shared_ptr<const LockWho> who;
  LockMode mode = LockMode::exclusive;
  unsigned count = 1;
  Time deadline = kForever;
  bool dontWait = false;
  int priority = 0;
  unsigned slot = 0;  // of the client's lock page, from 1, where it may be delegated; 0: nowhere
};

struct LockGrant {
  LockId lock = 0;
  LockWait wait = 0;
  LockParty party;
  std::uint64_t token = 0;
  std::optional<LockAbandonment> abandonment;
  unsigned index = 0;     // barrier
  unsigned depth = 1;     // rlock
  bool notified = false;  // condition
};

struct LockRefusal {
  LockId lock = 0;
  LockWait wait = 0;
  Code code = Code::busy;
  std::string text;
};

using LockOutcome = std::variant<LockGrant, LockRefusal>;

// What the table asks of those who keep the clients' lock pages (shm/lock_word.h). None of it waits.
class LockDelegations {
 public:
  virtual ~LockDelegations() = default;
  // Gives the lock to a thread of the client, in that slot of its page. False: the slot is not to be had.
  [[nodiscard]] virtual bool delegate(const LockGrant& grant, unsigned slot) = 0;
  // Wants the lock back. nullopt: it is the table's again. Else the thread that is inside: `returned` will be
  // called, or `ended`.
  [[nodiscard]] virtual std::optional<std::uint32_t> recall(LockId lock, LockClient client) = 0;
  // The client has ended: was a thread inside?
  [[nodiscard]] virtual std::optional<std::uint32_t> insideAtEnd(LockId lock, LockClient client) = 0;
  // The thread inside waits for the daemon at this moment: the lock is the table's from now on.
  virtual void reclaim(LockId lock, LockClient client) = 0;
};

}  // namespace baton::daemon
