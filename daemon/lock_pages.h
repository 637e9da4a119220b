// What is delegated to clients: their lock pages (shm/lock_page.h), and which slot is which lock. Belongs to
// the daemon's one thread; a client can write anything into its own pages, and harms only itself.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/lock_types.h"
#include "shm/fd.h"
#include "shm/lock_page.h"
#include "shm/mapping.h"

namespace baton::daemon {

class LockPages final : public LockDelegations {
 public:
  // 16 pages: more locks than a client may have by default.
  static constexpr std::size_t kMaxPages = 16;

  // One more page for the client; the descriptor is for it. Throws Error(quota), std::system_error.
  shm::Fd addPage(LockClient client);
  // Of all its pages.
  unsigned slots(LockClient client) const;
  void drop(LockClient client) { clients_.erase(client); }

  // The lock in this slot, from 1, if its word says that the client gave it back. Not a lock: 0.
  LockId takeReturned(LockClient client, unsigned slot);
  // Recalled, but given to threads that had not taken them up: to be looked at again by takeBackGrant. Once.
  using Untaken = std::vector<std::pair<LockId, LockClient>>;
  Untaken takeUntaken() { return std::exchange(untaken_, {}); }
  bool hasUntaken() const { return !untaken_.empty(); }
  // True: the thread has still not taken it up, and the lock is the daemon's.
  [[nodiscard]] bool takeBackGrant(LockId lock, LockClient client);

  bool delegate(const LockGrant& grant, unsigned slot) override;
  std::optional<std::uint32_t> recall(LockId lock, LockClient client) override;
  std::optional<std::uint32_t> insideAtEnd(LockId lock, LockClient client) override;
  void reclaim(LockId lock, LockClient client) override;

 private:
  struct Client {
    std::vector<shm::Mapping> pages;
    std::vector<LockId> lockOf;  // by slot - 1; 0: none
    std::unordered_map<LockId, unsigned> slotOf;
  };
  static shm::LockSlot& slotAt(Client& client, unsigned slot);
  // nullptr: it is in no page of the client.
  shm::LockWord* find(LockId lock, LockClient client);
  void forget(LockId lock, LockClient client);

  std::unordered_map<LockClient, Client> clients_;
  Untaken untaken_;
};

}  // namespace baton::daemon
