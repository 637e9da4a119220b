#include "daemon/queue.h"
#include "tests/daemon/queue_desk.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using sim::QueueDesk;
using sim::Texts;
using Outcome = QueueOutcome;

TEST(QueueLease, anAckedMessageIsGone) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"x"});
  EXPECT_EQ(desk.lease(user), Texts{"x"});
  EXPECT_NE(desk.leaseOf("x"), 0U);
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("x"), desk.now));
  EXPECT_FALSE(desk.queue.ack(desk.leaseOf("x"), desk.now));
  EXPECT_EQ(desk.store.count(), 0U);
  EXPECT_EQ(desk.queue.unfinished(), 0U);
  EXPECT_EQ(desk.queue.nextDue(), kForever);
}

TEST(QueueLease, theLastAckTellsWhoWaitsForTheEnd) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"x"});
  desk.lease(user);
  desk.queue.join(user, 7, kForever, desk.now);
  desk.queue.close(desk.now);
  desk.get(user, {}, kForever, 8);
  EXPECT_TRUE(desk.events().empty());
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("x"), desk.now));
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].outcome, Outcome::closed);
  EXPECT_EQ(events[1].kind, QueueWaiter::Kind::join);
}

TEST(QueueLease, itComesBackToTheFrontWhenTheLeaseIsOver) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"1", "2"});
  desk.lease(user, 1, 10s);
  desk.later(10s - 1ns);
  EXPECT_EQ(desk.ready(), Texts{"2"});
  desk.later(1ns);
  EXPECT_EQ(desk.ready(), (Texts{"1", "2"}));
  EXPECT_FALSE(desk.queue.ack(desk.leaseOf("1"), desk.now)) << "too late";
  EXPECT_EQ(desk.lease(user), Texts{"1"});
  EXPECT_EQ(desk.attemptOf("1"), 2U);
}

TEST(QueueLease, theQueuesLeaseIsTheDefault) {
  QueueOptions options;
  options.lease = 3s;
  QueueDesk desk(options);
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  desk.lease(user);
  EXPECT_EQ(desk.queue.nextDue(), desk.now + 3s);
}

TEST(QueueLease, aLeaseForEverEndsWithItsHolder) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  auto& mortal = desk.queue.open(2);
  desk.put(user, {"1"});
  desk.lease(mortal, 1, kForever);
  EXPECT_EQ(desk.queue.nextDue(), kForever);
  desk.queue.end(mortal, desk.now);
  EXPECT_EQ(desk.ready(), Texts{"1"});
}

TEST(QueueLease, renewedItLastsFromNowOn) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  desk.lease(user, 1, 10s);
  desk.later(9s);
  EXPECT_TRUE(desk.queue.renew(desk.leaseOf("1"), 10s, desk.now));
  desk.later(9s);
  EXPECT_TRUE(desk.ready().empty());
  EXPECT_TRUE(desk.queue.renew(desk.leaseOf("1"), kForever, desk.now));
  EXPECT_EQ(desk.queue.nextDue(), kForever);
  EXPECT_TRUE(desk.queue.renew(desk.leaseOf("1"), 0s, desk.now));
  EXPECT_EQ(desk.queue.nextDue(), desk.now + 30s);
  EXPECT_FALSE(desk.queue.renew(12345, 1s, desk.now));
}

TEST(QueueLease, whatSeveralDeadHeldComesBackInTheOrderOfTheirPuts) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  auto& c = desk.queue.open(3);
  desk.put(c, {"1", "2", "3", "4", "5"});
  desk.lease(a, 2);
  desk.lease(b, 2);
  desk.queue.end(b, desk.now);
  desk.queue.end(a, desk.now);
  EXPECT_EQ(desk.ready(), (Texts{"1", "2", "3", "4", "5"}));
}

TEST(QueueLease, whatWasNotTakenComesBackInOrder) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1", "2", "3", "4"});
  desk.get(b, {.max = 3});
  EXPECT_TRUE(desk.queue.taken(b, 1, desk.now));
  EXPECT_EQ(desk.store.count(), 3U);
  EXPECT_TRUE(desk.queue.taken(b, 1, desk.now)) << "said twice";
  EXPECT_FALSE(desk.queue.taken(b, 4, desk.now)) << "more than it got";
  desk.queue.end(b, desk.now);
  EXPECT_EQ(desk.ready(), (Texts{"2", "3", "4"}));
  desk.get(a, {.max = 9});
  EXPECT_EQ(desk.attemptOf("2"), 2U);
  EXPECT_EQ(desk.attemptOf("4"), 1U);
}

TEST(QueueLease, aWaitingGetReceivesWhatADeadOneHeld) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1"});
  desk.get(b);
  desk.get(a, {}, kForever, 7);
  desk.queue.end(b, desk.now);
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(desk.note(events[0].messages), Texts{"1"});
}

TEST(QueueLease, aNackMayDelay) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"1", "2"});
  desk.lease(user);
  EXPECT_TRUE(desk.queue.giveBack(desk.leaseOf("1"), true, 5s, desk.now));
  EXPECT_EQ(desk.ready(), Texts{"2"});
  desk.later(5s);
  EXPECT_EQ(desk.ready(), (Texts{"1", "2"}));
}

TEST(QueueLease, whatWasNotLookedAtIsNoAttempt) {
  QueueOptions options;
  options.maxAttempts = 1;
  QueueDesk desk(options);
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(desk.lease(user), Texts{"1"});
    EXPECT_EQ(desk.attemptOf("1"), 1U);
    EXPECT_TRUE(desk.queue.giveBack(desk.leaseOf("1"), false, 0s, desk.now));
  }
}

TEST(QueueLease, afterTooManyAttemptsItIsDead) {
  QueueOptions options;
  options.maxAttempts = 3;
  QueueDesk desk(options);
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  desk.lease(user);
  EXPECT_TRUE(desk.queue.giveBack(desk.leaseOf("1"), true, 0s, desk.now));
  desk.lease(user, 1, 5s);
  desk.later(5s);
  auto& mortal = desk.queue.open(2);
  desk.lease(mortal);
  EXPECT_TRUE(desk.outbox.dead.empty());
  desk.queue.end(mortal, desk.now);
  ASSERT_EQ(desk.outbox.dead.size(), 1U);
  EXPECT_EQ(QueueDesk::textOf(desk.outbox.dead[0]), "1");
  EXPECT_EQ(desk.queue.counts().dead, 1U);
  EXPECT_EQ(desk.queue.unfinished(), 0U);
  EXPECT_TRUE(desk.ready().empty());
}

TEST(QueueLease, aDeadLetterGoesInBeyondTheBoundsAndStartsAnew) {
  QueueDesk desk({.maxMessages = 1, .whenFull = FullPolicy::reject});
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  QueueMessage* dead = desk.message("dead");
  dead->attempt = 5;
  dead->put = desk.now - 10s;
  EXPECT_TRUE(desk.queue.putDead(*dead, desk.now));
  EXPECT_EQ(desk.lease(user, 2), (Texts{"1", "dead"}));
  EXPECT_EQ(desk.attemptOf("dead"), 1U);
  desk.queue.close(desk.now);
  QueueMessage* late = desk.message("late");
  EXPECT_FALSE(desk.queue.putDead(*late, desk.now));
  desk.store.free(late);
}

TEST(QueueLease, aDetachedLeaseOutlivesItsUser) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1", "2"});
  EXPECT_EQ(desk.get(b, {.max = 2, .lease = true, .leaseTime = 10s, .detached = true}), (Texts{"1", "2"}));
  desk.queue.end(b, desk.now);
  EXPECT_TRUE(desk.ready().empty());
  EXPECT_EQ(desk.queue.detached().size(), 2U);
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("1"), desk.now)) << "by whoever knows it";
  desk.later(10s);
  EXPECT_EQ(desk.ready(), Texts{"2"});
}

TEST(QueueLease, doneBeforeItsEndIsNotCountedTwice) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1"});
  desk.get(b);
  EXPECT_TRUE(desk.queue.done(1, desk.now));
  desk.queue.end(b, desk.now);
  EXPECT_EQ(desk.queue.unfinished(), 1U) << "it is to be worked off again";
  desk.get(a);
  EXPECT_TRUE(desk.queue.done(1, desk.now));
  EXPECT_EQ(desk.queue.unfinished(), 0U);
}

TEST(QueueLease, nobodyHoldsMoreThanTheBound) {
  QueueDesk desk({.maxMessages = 100'000});
  auto& user = desk.queue.open(1);
  const Texts many(Queue::kMaxInHand + 500, "");
  desk.put(user, many);
  EXPECT_EQ(desk.lease(user, 1'000'000).size(), Queue::kMaxInHand);
}

TEST(QueueLease, manyEndsAtOnceAreWorkedOffInPieces) {
  QueueDesk desk({.maxMessages = 100'000});
  auto& user = desk.queue.open(1);
  desk.put(user, Texts(5'000, ""));
  desk.lease(user, 5'000, 10s);
  desk.now += 10s;
  desk.queue.expire(desk.now);
  EXPECT_EQ(desk.queue.ready(), Queue::kMaxExpired);
  EXPECT_LE(desk.queue.nextDue(), desk.now) << "there is more to do";
}

TEST(QueueLease, aLeaseIsNotThatOfAnEarlierQueue) {
  QueueDesk first;
  auto& user = first.queue.open(1);
  first.put(user, {"1"});
  first.lease(user);
  MessageStore store(1U << 20);
  QueueOutbox outbox;
  Queue second({}, store, outbox, first.now + 1s);
  auto& other = second.open(1);
  QueueMessage* message = store.make(first.account, {});
  second.put(other, 1, {&message, 1}, Time{0}, first.now + 1s);
  std::vector<QueueMessage*> out;
  second.get(other, 2, {.lease = true}, Time{0}, first.now + 1s, out);
  EXPECT_FALSE(second.ack(first.leaseOf("1"), first.now + 1s));
}

}  // namespace
}  // namespace baton::daemon
