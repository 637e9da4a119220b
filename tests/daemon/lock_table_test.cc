#include <gmock/gmock.h>

#include "tests/daemon/lock_desk.h"

namespace baton::daemon::sim {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

constexpr LockParty kAnna{1, 0};
constexpr LockParty kBert{2, 0};
constexpr LockParty kCarl{3, 0};

class LockTableTest : public testing::Test, protected LockDesk {
 protected:
  LockWait acquireMode(LockId lock, LockParty party, LockMode mode) {
    LockAcquire asked = request(party);
    asked.mode = mode;
    return ask(lock, asked);
  }
  LockRelease releaseMode(LockId lock, LockParty party, LockMode mode) {
    return giveBack(lock, LockHold{.party = party, .who = {}, .mode = mode});
  }
  LockWait acquireCount(LockId lock, LockParty party, unsigned count) {
    LockAcquire asked = request(party);
    asked.count = count;
    return ask(lock, asked);
  }
  LockWait tryAcquire(LockId lock, LockParty party) {
    LockAcquire asked = request(party);
    asked.dontWait = true;
    return ask(lock, asked);
  }
  LockWait acquireFor(LockId lock, LockParty party, Time time) {
    LockAcquire asked = request(party);
    asked.deadline = now + time;
    return ask(lock, asked);
  }
  // With a slot in the client's page. `enter`: its thread is inside.
  LockWait acquireDelegated(LockId lock, LockParty party, bool enter) {
    LockAcquire asked = request(party);
    asked.slot = 1;
    const LockWait wait = ask(lock, asked);
    EXPECT_TRUE(has(wait));
    EXPECT_EQ(table.find(lock)->delegatedTo, party.client);
    if (!enter) pages.inside.erase({lock, party.client});
    return wait;
  }
};

TEST_F(LockTableTest, aMutexIsHeldByOneAndPassesOnInOrder) {
  const LockId lock = mutex();
  const LockWait a = acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  const LockWait c = acquire(lock, kCarl);
  EXPECT_TRUE(has(a));
  EXPECT_TRUE(waits_(b));
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(has(b));
  EXPECT_TRUE(waits_(c));
  EXPECT_EQ(release(lock, kBert), LockRelease::done);
  EXPECT_TRUE(has(c));
}

TEST_F(LockTableTest, threadsOfOneClientAreStrangers) {
  const LockId lock = mutex();
  acquire(lock, {1, 0});
  const LockWait second = acquire(lock, {1, 1});
  EXPECT_TRUE(waits_(second));
  EXPECT_EQ(release(lock, {1, 1}), LockRelease::notHeld);
  EXPECT_EQ(release(lock, {1, 0}), LockRelease::done);
  EXPECT_TRUE(has(second));
}

TEST_F(LockTableTest, aReleaseByAStrangerOrASecondOneIsRefused) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  EXPECT_EQ(release(lock, kBert), LockRelease::notHeld);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_EQ(release(lock, kAnna), LockRelease::notHeld);
}

TEST_F(LockTableTest, aHandOffMutexIsReleasedByAnybody) {
  const LockId lock = make({.kind = LockKind::mutex, .handOff = true});
  acquire(lock, kAnna);
  const LockWait again = acquire(lock, kAnna);
  EXPECT_TRUE(waits_(again)) << "somebody else may release it: no deadlock";
  EXPECT_EQ(release(lock, kBert), LockRelease::done);
  EXPECT_TRUE(has(again));
}

TEST_F(LockTableTest, tokensGrowWithEveryGrant) {
  const LockId lock = mutex();
  table.setLastToken(1000);
  std::uint64_t last = 1000;
  for (int i = 0; i < 5; ++i) {
    const LockWait wait = acquire(lock, kAnna);
    EXPECT_GT(granted.at(wait).token, last);
    last = granted.at(wait).token;
    EXPECT_EQ(giveBack(lock, LockHold{.party = kAnna, .who = {}, .token = last}), LockRelease::done);
  }
}

TEST_F(LockTableTest, aReleaseWithAnOldTokenIsRefused) {
  const LockId lock = mutex();
  const std::uint64_t old = granted.at(acquire(lock, kAnna)).token;
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  acquire(lock, kAnna);
  EXPECT_EQ(giveBack(lock, LockHold{.party = kAnna, .who = {}, .token = old}), LockRelease::notHeld);
}

TEST_F(LockTableTest, whoDoesNotWaitIsRefusedAtOnce) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  EXPECT_EQ(refusal(tryAcquire(lock, kBert)), Code::busy);
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(has(tryAcquire(lock, kBert)));
}

TEST_F(LockTableTest, aTimeOutEndsTheWaitAndNothingElse) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  const LockWait b = acquireFor(lock, kBert, seconds(2));
  const LockWait c = acquire(lock, kCarl);
  EXPECT_EQ(table.nextDeadline(), now + seconds(2));
  later(seconds(1));
  EXPECT_TRUE(waits_(b));
  later(seconds(1));
  EXPECT_EQ(refusal(b), Code::timedOut);
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(has(c));
}

TEST_F(LockTableTest, thePriorityGoesFirst) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  LockAcquire urgent = request(kCarl);
  urgent.priority = 5;
  const LockWait c = ask(lock, urgent);
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(has(c));
  EXPECT_TRUE(waits_(b));
}

TEST_F(LockTableTest, anRlockCountsItsDepth) {
  const LockId lock = make({.kind = LockKind::rlock});
  acquire(lock, kAnna);
  EXPECT_EQ(granted.at(acquire(lock, kAnna)).depth, 2U);
  const LockWait b = acquire(lock, kBert);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(waits_(b));
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(has(b));
}

TEST_F(LockTableTest, aSemaphoreGivesItsPermitsInOrder) {
  const LockId lock = make({.kind = LockKind::semaphore, .permits = 3});
  EXPECT_TRUE(has(acquireCount(lock, kAnna, 2)));
  const LockWait two = acquireCount(lock, kBert, 2);
  const LockWait one = acquireCount(lock, kCarl, 1);
  EXPECT_TRUE(waits_(two));
  EXPECT_TRUE(waits_(one)) << "it must not overtake who asks for more";
  EXPECT_EQ(giveBack(lock, LockHold{.party = kAnna, .who = {}, .count = 1}), LockRelease::done);
  EXPECT_TRUE(has(two));
  EXPECT_TRUE(waits_(one));
  EXPECT_EQ(giveBack(lock, LockHold{.party = kAnna, .who = {}, .count = 2}), LockRelease::tooMany);
  EXPECT_EQ(giveBack(lock, LockHold{.party = kAnna, .who = {}, .count = 1}), LockRelease::done);
  EXPECT_TRUE(has(one));
}

TEST_F(LockTableTest, permitsOfADeadOwnerComeBackAndTheNextIsTold) {
  const LockId lock = make({.kind = LockKind::semaphore, .permits = 2});
  acquireCount(lock, kAnna, 2);
  const LockWait b = acquireCount(lock, kBert, 2);
  end(kAnna.client);
  ASSERT_TRUE(has(b));
  EXPECT_TRUE(granted.at(b).abandonment);
}

TEST_F(LockTableTest, aCountingSemaphoreBelongsToNobody) {
  const LockId lock = make({.kind = LockKind::semaphore, .permits = 0, .counting = true});
  const LockWait a = acquire(lock, kAnna);
  EXPECT_TRUE(waits_(a));
  EXPECT_EQ(giveBack(lock, LockHold{.party = kBert, .who = {}, .count = 2}), LockRelease::done);
  EXPECT_TRUE(has(a));
  end(kAnna.client);
  EXPECT_EQ(table.find(lock)->free, 1U);
}

TEST_F(LockTableTest, aBoundedSemaphoreRefusesOneReleaseTooMany) {
  const LockId lock = make({.kind = LockKind::semaphore, .permits = 1, .bounded = true, .counting = true});
  EXPECT_EQ(release(lock, kAnna), LockRelease::tooMany);
  acquire(lock, kAnna);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
}

TEST_F(LockTableTest, readersGoTogetherUpToTheNextWriter) {
  const LockId lock = make({.kind = LockKind::rwlock});
  acquireMode(lock, kAnna, LockMode::exclusive);
  const LockWait r1 = acquireMode(lock, {2, 0}, LockMode::shared);
  const LockWait r2 = acquireMode(lock, {3, 0}, LockMode::shared);
  const LockWait w = acquireMode(lock, {4, 0}, LockMode::exclusive);
  const LockWait r3 = acquireMode(lock, {5, 0}, LockMode::shared);
  ASSERT_EQ(releaseMode(lock, kAnna, LockMode::exclusive), LockRelease::done);
  EXPECT_TRUE(has(r1));
  EXPECT_TRUE(has(r2));
  EXPECT_TRUE(waits_(w));
  EXPECT_TRUE(waits_(r3)) << "a writer that waits must not starve";
  ASSERT_EQ(releaseMode(lock, {2, 0}, LockMode::shared), LockRelease::done);
  EXPECT_TRUE(waits_(w));
  ASSERT_EQ(releaseMode(lock, {3, 0}, LockMode::shared), LockRelease::done);
  EXPECT_TRUE(has(w));
  ASSERT_EQ(releaseMode(lock, {4, 0}, LockMode::exclusive), LockRelease::done);
  EXPECT_TRUE(has(r3));
}

TEST_F(LockTableTest, aDeadReaderLeavesNothingHalfDone) {
  const LockId lock = make({.kind = LockKind::rwlock});
  acquireMode(lock, kAnna, LockMode::shared);
  const LockWait w = acquireMode(lock, kBert, LockMode::exclusive);
  end(kAnna.client);
  ASSERT_TRUE(has(w));
  EXPECT_FALSE(granted.at(w).abandonment);
}

TEST_F(LockTableTest, theNextOwnerIsToldOfADeadOneOnce) {
  const LockId lock = mutex();
  acquire(lock, {7, 3});
  const Time since = now;
  later(seconds(5));
  const LockWait b = acquire(lock, kBert);
  end(7, true);
  ASSERT_TRUE(has(b));
  const auto& told = granted.at(b).abandonment;
  ASSERT_TRUE(told);
  EXPECT_EQ(told->who->pid, 7);
  EXPECT_EQ(told->who->program, "p7");
  EXPECT_EQ(told->thread, 3U);
  EXPECT_EQ(told->heldSince, since);
  EXPECT_EQ(told->endedAt, now);
  EXPECT_TRUE(told->treeMayLive);
  ASSERT_EQ(release(lock, kBert), LockRelease::done);
  EXPECT_FALSE(granted.at(acquire(lock, kCarl)).abandonment);
}

TEST_F(LockTableTest, anAbandonedLockMayBeRefusedUntilItIsCleared) {
  const LockId lock = make({.kind = LockKind::mutex, .refuseAbandoned = true});
  acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  end(kAnna.client);
  EXPECT_EQ(refusal(b), Code::abandoned);
  EXPECT_EQ(refusal(acquire(lock, kCarl)), Code::abandoned);
  table.clear(lock, now);
  EXPECT_TRUE(has(acquire(lock, kCarl)));
}

TEST_F(LockTableTest, whoWaitsAndDiesIsNotGranted) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  const LockWait c = acquire(lock, kCarl);
  end(kBert.client);
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_TRUE(waits_(b));
  EXPECT_TRUE(has(c));
}

TEST_F(LockTableTest, aClientThatHoldsOneAndWaitsForAnotherLeavesBoth) {
  const LockId one = mutex("one");
  const LockId two = mutex("two");
  acquire(one, kAnna);
  acquire(two, kBert);
  acquire(two, kAnna);
  const LockWait c = acquire(one, kCarl);
  end(kAnna.client);
  EXPECT_TRUE(has(c));
  ASSERT_EQ(release(two, kBert), LockRelease::done);
  EXPECT_TRUE(table.find(two)->holds.empty());
}

// ---- deadlocks ----

TEST_F(LockTableTest, aCircleOfTwoIsRefusedToWhoClosesIt) {
  const LockId one = mutex("one");
  const LockId two = mutex("two");
  acquire(one, kAnna);
  acquire(two, kBert);
  const LockWait a = acquire(two, kAnna);
  const LockWait b = acquire(one, kBert);
  EXPECT_TRUE(waits_(a));
  ASSERT_EQ(refusal(b), Code::deadlock);
  EXPECT_THAT(refused.at(b).text,
              HasSubstr("pid 2 (p2) waits for one, held by pid 1 (p1), which waits for two, "
                        "held by pid 2 (p2)"));
  ASSERT_EQ(release(two, kBert), LockRelease::done);
  EXPECT_TRUE(has(a)) << "the others go on";
}

TEST_F(LockTableTest, whoHasAMutexAndAsksAgainIsACircleOfOne) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  EXPECT_EQ(refusal(acquire(lock, kAnna)), Code::deadlock);
}

TEST_F(LockTableTest, aLongCircleIsFound) {
  std::vector<LockId> locks;
  for (unsigned i = 0; i < 50; ++i) {
    locks.push_back(mutex("lock" + std::to_string(i)));
    acquire(locks.back(), {i + 1, 0});
  }
  for (unsigned i = 0; i + 1 < 50; ++i) EXPECT_TRUE(waits_(acquire(locks[i + 1], {i + 1, 0})));
  EXPECT_EQ(refusal(acquire(locks[0], {50, 0})), Code::deadlock);
}

TEST_F(LockTableTest, aReaderBehindAWriterThatWaitsForItIsACircle) {
  const LockId lock = make({.kind = LockKind::rwlock});
  acquireMode(lock, kAnna, LockMode::shared);
  acquireMode(lock, kBert, LockMode::exclusive);
  EXPECT_EQ(refusal(acquireMode(lock, kAnna, LockMode::shared)), Code::deadlock);
}

TEST_F(LockTableTest, twoReadersThatBothWantToWriteAreACircle) {
  const LockId lock = make({.kind = LockKind::rwlock});
  acquireMode(lock, kAnna, LockMode::shared);
  acquireMode(lock, kBert, LockMode::shared);
  EXPECT_EQ(refusal(acquireMode(lock, kAnna, LockMode::exclusive)), Code::deadlock);
}

TEST_F(LockTableTest, aSemaphoreIsInTheWayOnlyIfAllItsHoldersAre) {
  const LockId sem = make({.kind = LockKind::semaphore, .permits = 2}, "sem");
  const LockId lock = mutex();
  acquire(sem, kAnna);
  acquire(sem, kCarl);
  acquire(lock, kBert);
  EXPECT_TRUE(waits_(acquire(lock, kAnna)));
  const LockWait b = acquire(sem, kBert);
  EXPECT_TRUE(waits_(b)) << "Carl may give his permit back";
  end(kCarl.client);
  EXPECT_TRUE(has(b));
  EXPECT_EQ(refusal(acquire(sem, {9, 0})), std::nullopt);
}

TEST_F(LockTableTest, aSemaphoreWhoseHoldersAllWaitForTheAskerIsACircle) {
  const LockId sem = make({.kind = LockKind::semaphore, .permits = 2}, "sem");
  const LockId lock = mutex();
  acquire(sem, kAnna);
  acquire(sem, kCarl);
  acquire(lock, kBert);
  acquire(lock, kAnna);
  acquire(lock, kCarl);
  EXPECT_EQ(refusal(acquire(sem, kBert)), Code::deadlock);
}

// ---- delegation ----

TEST_F(LockTableTest, aDelegatedLockThatNobodyIsInsideOfComesBackAtOnce) {
  const LockId lock = mutex();
  acquireDelegated(lock, kAnna, false);
  const LockWait b = acquire(lock, kBert);
  EXPECT_TRUE(has(b));
  EXPECT_FALSE(granted.at(b).abandonment);
  EXPECT_EQ(pages.recalls, 1U);
}

TEST_F(LockTableTest, aDelegatedLockThatSomebodyIsInsideOfComesBackAtItsRelease) {
  const LockId lock = mutex();
  acquireDelegated(lock, {1, 4}, true);
  const LockWait b = acquire(lock, kBert);
  ASSERT_TRUE(waits_(b));
  ASSERT_EQ(table.find(lock)->holds.size(), 1U);
  EXPECT_EQ(table.find(lock)->holds.front().party, (LockParty{1, 4}));
  const LockWait c = acquire(lock, kCarl);
  EXPECT_EQ(pages.recalls, 1U) << "asked once";
  pages.inside.clear();
  table.returned(lock, 1, now);
  collect();
  EXPECT_TRUE(has(b));
  EXPECT_TRUE(waits_(c));
}

TEST_F(LockTableTest, itsEndInsideADelegatedLockIsAnAbandonment) {
  const LockId lock = mutex();
  acquireDelegated(lock, {1, 4}, true);
  end(1);
  const LockWait b = acquire(lock, kBert);
  ASSERT_TRUE(has(b));
  ASSERT_TRUE(granted.at(b).abandonment);
  EXPECT_EQ(granted.at(b).abandonment->thread, 4U);
}

TEST_F(LockTableTest, itsEndOutsideOfADelegatedLockIsClean) {
  const LockId lock = mutex();
  acquireDelegated(lock, kAnna, false);
  end(kAnna.client);
  const LockWait b = acquire(lock, kBert);
  ASSERT_TRUE(has(b));
  EXPECT_FALSE(granted.at(b).abandonment);
}

TEST_F(LockTableTest, aCircleThroughADelegatedLockIsFound) {
  const LockId one = mutex("one");
  const LockId two = mutex("two");
  acquireDelegated(one, kAnna, true);
  acquireDelegated(two, kBert, true);
  EXPECT_TRUE(waits_(acquire(two, kAnna)));
  EXPECT_EQ(refusal(acquire(one, kBert)), Code::deadlock);
}

TEST_F(LockTableTest, whatOthersWaitForIsRecalledAtOnce) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  LockAcquire asked = request(kBert);
  asked.slot = 1;
  ask(lock, asked);
  const LockWait c = acquire(lock, kCarl);
  ASSERT_EQ(release(lock, kAnna), LockRelease::done);
  ASSERT_TRUE(has(asked.wait));
  EXPECT_EQ(pages.recalls, 1U);
  EXPECT_TRUE(waits_(c));
  pages.inside.clear();
  table.returned(lock, kBert.client, now);
  collect();
  EXPECT_TRUE(has(c));
}

// ---- conditions, events, barriers ----

TEST_F(LockTableTest, aWaitReleasesTheMutexAndGetsItBackWhenNotified) {
  const LockId lock = mutex();
  const LockId condition = make({.kind = LockKind::condition}, "condition");
  acquire(lock, kAnna);
  const LockAcquire asked = request(kAnna);
  ASSERT_TRUE(table.wait(condition, lock, asked, now));
  const LockWait b = acquire(lock, kBert);
  ASSERT_TRUE(has(b));
  table.notify(condition, 1, now);
  collect();
  EXPECT_TRUE(waits_(asked.wait)) << "not before it has the mutex";
  ASSERT_EQ(release(lock, kBert), LockRelease::done);
  ASSERT_TRUE(has(asked.wait));
  EXPECT_TRUE(granted.at(asked.wait).notified);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
}

TEST_F(LockTableTest, aWaitThatTimesOutGetsTheMutexBackToo) {
  const LockId lock = make({.kind = LockKind::rlock});
  const LockId condition = make({.kind = LockKind::condition}, "condition");
  acquire(lock, kAnna);
  acquire(lock, kAnna);
  LockAcquire asked = request(kAnna);
  asked.deadline = now + seconds(1);
  ASSERT_TRUE(table.wait(condition, lock, asked, now));
  acquire(lock, kBert);
  later(seconds(1));
  EXPECT_TRUE(waits_(asked.wait));
  ASSERT_EQ(release(lock, kBert), LockRelease::done);
  ASSERT_TRUE(has(asked.wait));
  EXPECT_FALSE(granted.at(asked.wait).notified);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done) << "the depth came back too";
  EXPECT_EQ(release(lock, kAnna), LockRelease::notHeld);
}

TEST_F(LockTableTest, whoWaitsWithoutTheMutexIsRefused) {
  const LockId lock = mutex();
  const LockId condition = make({.kind = LockKind::condition}, "condition");
  EXPECT_FALSE(table.wait(condition, lock, request(kAnna), now));
}

TEST_F(LockTableTest, aWaitWithADelegatedMutexTakesItFromThePage) {
  const LockId lock = mutex();
  const LockId condition = make({.kind = LockKind::condition}, "condition");
  acquireDelegated(lock, kAnna, true);
  const LockAcquire asked = request(kAnna);
  ASSERT_TRUE(table.wait(condition, lock, asked, now));
  EXPECT_TRUE(pages.inside.empty());
  EXPECT_TRUE(has(acquire(lock, kBert)));
}

TEST_F(LockTableTest, notifyWakesSoManyInOrder) {
  const LockId lock = mutex();
  const LockId condition = make({.kind = LockKind::condition}, "condition");
  std::vector<LockWait> waits;
  for (LockClient client = 1; client <= 3; ++client) {
    acquire(lock, {client, 0});
    const LockAcquire asked = request({client, 0});
    ASSERT_TRUE(table.wait(condition, lock, asked, now));
    collect();
    waits.push_back(asked.wait);
  }
  table.notify(condition, 2, now);
  collect();
  EXPECT_TRUE(has(waits[0]));
  ASSERT_EQ(release(lock, {1, 0}), LockRelease::done);
  EXPECT_TRUE(has(waits[1]));
  ASSERT_EQ(release(lock, {2, 0}), LockRelease::done);
  EXPECT_TRUE(waits_(waits[2]));
  table.notify(condition, kEverybody, now);
  collect();
  EXPECT_TRUE(has(waits[2]));
}

TEST_F(LockTableTest, anEventLetsEverybodyThroughWhileItIsSet) {
  const LockId event = make({.kind = LockKind::event});
  const LockWait a = acquire(event, kAnna);
  const LockWait b = acquire(event, kBert);
  EXPECT_TRUE(waits_(a));
  table.set(event, true, now);
  collect();
  EXPECT_TRUE(has(a));
  EXPECT_TRUE(has(b));
  EXPECT_TRUE(has(acquire(event, kCarl)));
  table.set(event, false, now);
  EXPECT_TRUE(waits_(acquire(event, kCarl)));
}

TEST_F(LockTableTest, aBarrierOpensWhenAllAreThere) {
  const LockId barrier = make({.kind = LockKind::barrier, .permits = 2});
  const LockWait a = acquire(barrier, kAnna);
  EXPECT_TRUE(waits_(a));
  const LockWait b = acquire(barrier, kBert);
  ASSERT_TRUE(has(a));
  ASSERT_TRUE(has(b));
  EXPECT_EQ(granted.at(a).index, 0U);
  EXPECT_EQ(granted.at(b).index, 1U);
  EXPECT_TRUE(waits_(acquire(barrier, kAnna))) << "and closes behind them";
}

TEST_F(LockTableTest, aBarrierThatLosesAPartyIsBrokenUntilItIsReset) {
  const LockId barrier = make({.kind = LockKind::barrier, .permits = 3});
  const LockWait a = acquire(barrier, kAnna);
  acquire(barrier, kBert);
  end(kBert.client);
  EXPECT_EQ(refusal(a), Code::broken);
  EXPECT_EQ(refusal(acquire(barrier, kCarl)), Code::broken);
  table.reset(barrier, now);
  EXPECT_TRUE(waits_(acquire(barrier, kCarl)));
}

TEST_F(LockTableTest, aBarrierBreaksAtATimeOut) {
  const LockId barrier = make({.kind = LockKind::barrier, .permits = 3});
  const LockWait a = acquire(barrier, kAnna);
  const LockWait b = acquireFor(barrier, kBert, seconds(1));
  later(seconds(1));
  EXPECT_EQ(refusal(b), Code::timedOut);
  EXPECT_EQ(refusal(a), Code::broken);
}

// ---- operators ----

TEST_F(LockTableTest, breakingTakesItFromItsHolderWhoIsToldAtItsRelease) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  table.breakLock(lock, now);
  collect();
  ASSERT_TRUE(has(b));
  ASSERT_TRUE(granted.at(b).abandonment);
  EXPECT_TRUE(granted.at(b).abandonment->broken);
  EXPECT_EQ(release(lock, kAnna), LockRelease::broken);
  EXPECT_EQ(release(lock, kAnna), LockRelease::notHeld);
  EXPECT_EQ(release(lock, kBert), LockRelease::done);
}

TEST_F(LockTableTest, breakingADelegatedOneThatIsHeldTakesIt) {
  const LockId lock = mutex();
  acquireDelegated(lock, kAnna, true);
  table.breakLock(lock, now);
  collect();
  EXPECT_TRUE(has(acquire(lock, kBert)));
  table.returned(lock, kAnna.client, now);
  EXPECT_EQ(table.find(lock)->holds.size(), 1U) << "what the old owner returns is not Bert's";
}

TEST_F(LockTableTest, removingRefusesWhoWaits) {
  const LockId lock = mutex();
  acquire(lock, kAnna);
  const LockWait b = acquire(lock, kBert);
  table.remove(lock, now);
  collect();
  EXPECT_EQ(refusal(b), Code::removed);
  EXPECT_EQ(release(lock, kAnna), LockRelease::done);
  EXPECT_EQ(table.find(ObjectKey{1000, "lock"}), nullptr);
  EXPECT_EQ(table.count(1000), 0U);
}

TEST_F(LockTableTest, aHoldIsBoundToAProcessAndEndsWithIt) {
  const LockId lock = mutex();
  const std::uint64_t token = granted.at(acquire(lock, kAnna)).token;
  EXPECT_FALSE(table.bind(lock, kAnna, {99, 0}, who(99), token + 1));
  ASSERT_TRUE(table.bind(lock, kAnna, {99, 0}, who(99), token));
  const LockWait b = acquire(lock, kBert);
  end(kAnna.client);
  EXPECT_TRUE(waits_(b)) << "the process has it";
  end(99);
  ASSERT_TRUE(has(b));
  EXPECT_EQ(granted.at(b).abandonment->who->pid, 99);
}

TEST_F(LockTableTest, nothingIsGrantedWhileAnOlderDaemonsClientsMayHold) {
  const LockId lock = mutex();
  table.setBlocked(true, now);
  const LockWait a = acquire(lock, kAnna);
  EXPECT_TRUE(waits_(a));
  EXPECT_EQ(refusal(tryAcquire(lock, kBert)), Code::busy);
  table.setBlocked(false, now);
  collect();
  EXPECT_TRUE(has(a));
}

}  // namespace
}  // namespace baton::daemon::sim
