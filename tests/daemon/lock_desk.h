// A lock table, a hand on its clock, pages that the test writes, and what came out, for tests that speak of
// single events.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "daemon/lock_table.h"

namespace baton::daemon::sim {

// The clients' lock pages: which of them is inside a delegated lock.
class Pages final : public LockDelegations {
 public:
  using Key = std::pair<LockId, LockClient>;

  bool delegate(const LockGrant& grant, unsigned slot) override {
    EXPECT_NE(slot, 0U);
    return inside.emplace(Key{grant.lock, grant.party.client}, grant.party.thread).second;
  }
  std::optional<std::uint32_t> recall(LockId lock, LockClient client) override {
    ++recalls;
    return insideAtEnd(lock, client);
  }
  std::optional<std::uint32_t> insideAtEnd(LockId lock, LockClient client) override {
    const auto found = inside.find({lock, client});
    if (found == inside.end()) return std::nullopt;
    return found->second;
  }
  void reclaim(LockId lock, LockClient client) override { inside.erase({lock, client}); }

  std::map<Key, std::uint32_t> inside;
  unsigned recalls = 0;
};

class LockDesk {
 public:
  LockId make(LockOptions options, const std::string& name = "lock") {
    return table.create(ObjectHead{.key = {1000, name}}, options);
  }
  LockId mutex(const std::string& name = "lock") { return make({.kind = LockKind::mutex}, name); }

  LockAcquire request(LockParty party) { return {.wait = ++waits, .party = party, .who = who(party.client)}; }
  static std::shared_ptr<const LockWho> who(LockClient client) {
    return std::make_shared<const LockWho>(LockWho{
        .uid = 1000, .pid = static_cast<std::int32_t>(client), .program = "p" + std::to_string(client)});
  }
  // The number of the wait.
  LockWait acquire(LockId lock, LockParty party) { return ask(lock, request(party)); }
  LockWait ask(LockId lock, const LockAcquire& request) {
    table.acquire(lock, request, now);
    collect();
    return request.wait;
  }
  LockRelease release(LockId lock, LockParty party) {
    return giveBack(lock, LockHold{.party = party, .who = {}});
  }
  LockRelease giveBack(LockId lock, const LockHold& what) {
    const LockRelease result = table.release(lock, what, now);
    collect();
    return result;
  }
  void end(LockClient client, bool treeMayLive = false) {
    table.clientEnded(client, treeMayLive, now);
    collect();
  }
  void later(Time time) {
    now += time;
    table.expire(now);
    collect();
  }
  void collect() {
    while (auto outcome = table.next()) {
      if (const auto* grant = std::get_if<LockGrant>(&*outcome)) {
        EXPECT_TRUE(granted.emplace(grant->wait, *grant).second) << "granted twice";
        EXPECT_EQ(refused.count(grant->wait), 0U);
      } else {
        const auto& refusal = std::get<LockRefusal>(*outcome);
        EXPECT_TRUE(refused.emplace(refusal.wait, refusal).second) << "refused twice";
        EXPECT_EQ(granted.count(refusal.wait), 0U);
      }
    }
  }
  bool has(LockWait wait) const { return granted.contains(wait); }
  bool waits_(LockWait wait) const { return !granted.contains(wait) && !refused.contains(wait); }
  std::optional<Code> refusal(LockWait wait) const {
    const auto found = refused.find(wait);
    if (found == refused.end()) return std::nullopt;
    return found->second.code;
  }

  Pages pages;
  LockTable table{pages};
  Time now = std::chrono::hours(1);
  LockWait waits = 0;
  std::map<LockWait, LockGrant> granted;
  std::map<LockWait, LockRefusal> refused;
};

}  // namespace baton::daemon::sim
