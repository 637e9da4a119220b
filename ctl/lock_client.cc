#include "ctl/lock_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <array>

#include "ctl/object_text.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr std::uint64_t kForEver = ~std::uint64_t{0};
constexpr std::array<const char*, 7> kKinds = {"mutex",     "rlock", "semaphore", "rwlock",
                                               "condition", "event", "barrier"};

// What a person at a terminal is told before the waiting begins.
void sayWhoHolds(ipc::Client& client, const std::string& name) {
  if (!isTerminal(2)) return;
  const auto reply = showObject(client, wire::ObjectKind::LOCK, name);
  const auto rows = reply.get().getObjects().getRows();
  if (rows.size() == 0 || !rows[0].isLock()) return;
  const auto row = rows[0].getLock();
  if (row.getBlockedBy().size() > 0) {
    complain(fmt::format("waiting for {}: {} may still hold locks", name, row.getBlockedBy().cStr()));
  } else if (row.getHolders().size() > 0) {
    const auto holder = row.getHolders()[0];
    std::string line = fmt::format("waiting for {}: held by {} for {}", name, partyText(holder),
                                   durationText(holder.getForNs()));
    if (row.getHolderCount() > 1) line += fmt::format(", and {} more", row.getHolderCount() - 1);
    if (row.getWaiterCount() > 0) line += fmt::format("; {} wait before this", row.getWaiterCount());
    complain(line);
  } else {
    complain("waiting for " + name);
  }
}

// nullopt: not in time.
std::optional<std::uint64_t> ask(ipc::Client& client, const OpenedLock& lock, const LockWish& wish,
                                 const std::string& name, std::uint64_t timeoutNs) {
  ipc::Message request;
  auto acquire = request.frame().initLockAcquire();
  acquire.setLock(lock.handle);
  acquire.setMode(wish.shared ? wire::LockMode::SHARED : wire::LockMode::EXCLUSIVE);
  acquire.setTimeoutNs(timeoutNs);
  if (wish.pidfd >= 0) {
    acquire.setProcess(true);
    request.attach(shm::Fd(::fcntl(wish.pidfd, F_DUPFD_CLOEXEC, 0)));
  }
  try {
    const auto reply = client.call(request);
    const auto granted = reply.get().getLockGranted();
    if (granted.getAbandoned()) complain(name + " was " + abandonmentText(granted.getAbandonment()));
    return granted.getToken();
  } catch (const Error& error) {
    if (error.code() == Code::busy || error.code() == Code::timedOut) return std::nullopt;
    throw;
  }
}

}  // namespace

std::string lockKindName(wire::LockKind kind) {
  const auto index = static_cast<std::size_t>(kind);
  return index < kKinds.size() ? kKinds[index] : "unknown kind";
}

wire::LockKind lockKindOf(const std::string& name) {
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (name == kKinds[i]) return static_cast<wire::LockKind>(i);
  }
  throw Error(Code::usage, "`" + name +
                               "` is no kind of lock; expected mutex, rlock, semaphore, rwlock, condition, "
                               "event or barrier");
}

std::string abandonmentText(wire::Abandonment::Reader told) {
  const auto by = told.getBy();
  std::string text =
      told.getBroken() ? "taken by an operator from " + partyText(by) : "abandoned by " + partyText(by);
  text += fmt::format(" {} ago, after {}", durationText(told.getAgoNs()), durationText(by.getForNs()));
  if (told.getTreeMayLive()) text += "; processes of it may still be at work";
  return text;
}

OpenedLock openLock(ipc::Client& client, const LockSpec& spec) {
  ipc::Message request;
  auto open = request.frame().initLockOpen();
  open.setName(spec.name);
  auto creation = open.initCreation();
  creation.setCreate(spec.create);
  creation.setExclusive(spec.exclusive);
  creation.setMode(static_cast<std::uint16_t>(spec.mode));
  auto options = open.initOptions();
  options.setKind(spec.kind);
  options.setPermits(spec.permits);
  options.setBounded(spec.bounded);
  options.setCounting(spec.counting);
  options.setHandOff(spec.handOff);
  options.setRefuseAbandoned(spec.refuseAbandoned);
  open.setAnyKind(spec.anyKind);
  open.setKeep(spec.keep);
  const auto reply = client.call(request);
  const auto opened = reply.get().getLockOpened();
  OpenedLock lock{.handle = opened.getHandle(),
                  .kind = opened.getOptions().getKind(),
                  .permits = opened.getOptions().getPermits(),
                  .generation = {}};
  const std::string path = textOf(opened.getGenerationPath());
  if (!path.empty()) {
    // Without CLOEXEC: a command that outlives us and the daemon keeps it, as with flock(1).
    lock.generation = shm::Fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW));
    if (!lock.generation || ::flock(lock.generation.get(), LOCK_SH | LOCK_NB) < 0) {
      throw Error(Code::disconnected, "the daemon ended meanwhile");
    }
  }
  return lock;
}

std::optional<std::uint64_t> acquireLock(ipc::Client& client, const LockSpec& spec, const OpenedLock& lock,
                                         const LockWish& wish) {
  if (auto token = ask(client, lock, wish, spec.name, 0)) return token;
  const bool dontWait = wish.timeout && wish.timeout->count() == 0;
  if (dontWait) return std::nullopt;
  sayWhoHolds(client, spec.name);
  return ask(client, lock, wish, spec.name,
             wish.timeout ? static_cast<std::uint64_t>(wish.timeout->count()) : kForEver);
}

void releaseLock(ipc::Client& client, const OpenedLock& lock, bool shared, std::uint64_t token) {
  ipc::Message request;
  auto release = request.frame().initLockRelease();
  release.setLock(lock.handle);
  release.setMode(shared ? wire::LockMode::SHARED : wire::LockMode::EXCLUSIVE);
  release.setToken(token);
  client.call(request);
}

}  // namespace baton::ctl
