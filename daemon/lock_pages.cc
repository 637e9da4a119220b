#include "daemon/lock_pages.h"

#include "shm/memfd.h"

namespace baton::daemon {

shm::Fd LockPages::addPage(LockClient number) {
  Client& client = clients_[number];
  if (client.pages.size() >= kMaxPages) {
    throw Error(Code::quota, "this connection has all the lock pages it may have; acquire without a slot");
  }
  shm::Fd fd = shm::createMemory(shm::kLockPageBytes);
  client.pages.emplace_back(fd.get(), shm::kLockPageBytes, shm::Access::readWrite);
  client.lockOf.resize(client.pages.size() * shm::kLockSlots);
  return fd;
}

unsigned LockPages::slots(LockClient number) const {
  const auto found = clients_.find(number);
  return found == clients_.end() ? 0 : static_cast<unsigned>(found->second.lockOf.size());
}

shm::LockSlot& LockPages::slotAt(Client& client, unsigned slot) {
  const unsigned index = slot - 1;
  return client.pages[index / shm::kLockSlots].at<shm::LockPage>(0).slots[index % shm::kLockSlots];
}

shm::LockWord* LockPages::find(LockId lock, LockClient number) {
  const auto client = clients_.find(number);
  if (client == clients_.end()) return nullptr;
  const auto slot = client->second.slotOf.find(lock);
  return slot == client->second.slotOf.end() ? nullptr : &slotAt(client->second, slot->second).word;
}

void LockPages::forget(LockId lock, LockClient number) {
  const auto client = clients_.find(number);
  if (client == clients_.end()) return;
  const auto slot = client->second.slotOf.find(lock);
  if (slot == client->second.slotOf.end()) return;
  client->second.lockOf[slot->second - 1] = 0;
  client->second.slotOf.erase(slot);
}

bool LockPages::delegate(const LockGrant& grant, unsigned slot) {
  const auto found = clients_.find(grant.party.client);
  if (found == clients_.end() || grant.party.thread > shm::kMaxThreadIndex) return false;
  Client& client = found->second;
  if (slot == 0 || slot > client.lockOf.size() || client.lockOf[slot - 1] != 0) return false;
  if (!client.slotOf.emplace(grant.lock, slot).second) return false;
  client.lockOf[slot - 1] = grant.lock;
  slotAt(client, slot)
      .word.grant(shm::LockState::granted, grant.party.thread, static_cast<std::uint32_t>(grant.token));
  return true;
}

std::optional<std::uint32_t> LockPages::recall(LockId lock, LockClient client) {
  shm::LockWord* word = find(lock, client);
  if (word == nullptr) return std::nullopt;
  const shm::Recalled how = word->recall();
  if (how == shm::Recalled::takenBack) {
    forget(lock, client);
    return std::nullopt;
  }
  if (how == shm::Recalled::granted) untaken_.emplace_back(lock, client);
  return word->inspect().thread;
}

std::optional<std::uint32_t> LockPages::insideAtEnd(LockId lock, LockClient client) {
  shm::LockWord* word = find(lock, client);
  if (word == nullptr) return std::nullopt;
  const shm::LockView view = word->inspect();
  forget(lock, client);
  if (view.state != shm::LockState::held) return std::nullopt;
  return view.thread;
}

void LockPages::reclaim(LockId lock, LockClient client) {
  if (shm::LockWord* word = find(lock, client)) word->grant(shm::LockState::none, 0, 0);
  forget(lock, client);
}

LockId LockPages::takeReturned(LockClient number, unsigned slot) {
  const auto found = clients_.find(number);
  if (found == clients_.end() || slot == 0 || slot > found->second.lockOf.size()) return 0;
  const LockId lock = found->second.lockOf[slot - 1];
  // Whoever lies about it loses nothing but its own lock.
  if (lock == 0 || slotAt(found->second, slot).word.inspect().state != shm::LockState::none) return 0;
  forget(lock, number);
  return lock;
}

bool LockPages::takeBackGrant(LockId lock, LockClient client) {
  shm::LockWord* word = find(lock, client);
  if (word == nullptr || !word->takeBackGrant()) return false;
  forget(lock, client);
  return true;
}

}  // namespace baton::daemon
