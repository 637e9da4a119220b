#include "daemon/queue.h"

#include <malloc.h>

#include <memory>

#include "tests/daemon/queue_desk.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using sim::QueueDesk;
using sim::Texts;
using Outcome = QueueOutcome;

QueueOptions bound(std::uint64_t messages, FullPolicy policy = FullPolicy::block) {
  return {.maxMessages = messages, .whenFull = policy};
}

TEST(Queue, firstInFirstOut) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  const auto result = desk.put(user, {"a", "b"});
  EXPECT_EQ(result->accepted, 2U);
  EXPECT_EQ(result->firstId, 1U);
  EXPECT_EQ(desk.put(user, {"c"})->firstId, 3U);
  EXPECT_EQ(desk.get(user), Texts{"a"});
  EXPECT_EQ(desk.get(user, {.max = 10}), (Texts{"b", "c"}));
  EXPECT_TRUE(desk.get(user).empty());
  EXPECT_EQ(desk.outcome, Outcome::empty);
}

TEST(Queue, aHigherPriorityGoesFirstAndEqualOnesInOrder) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, "low", -1);
  desk.put(user, "a", 0);
  desk.put(user, "high", 5);
  desk.put(user, "b", 0);
  desk.put(user, "high2", 5);
  EXPECT_EQ(desk.get(user, {.max = 10}), (Texts{"high", "high2", "a", "b", "low"}));
}

TEST(Queue, aDelayedMessageIsNotThereBefore) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, "late", 0, 10s);
  desk.put(user, "now", 0);
  EXPECT_EQ(desk.queue.delayed(), 1U);
  EXPECT_EQ(desk.get(user, {.max = 10}), Texts{"now"});
  desk.later(9s);
  EXPECT_TRUE(desk.get(user).empty());
  desk.put(user, "later", 0);
  desk.later(1s);
  EXPECT_EQ(desk.get(user, {.max = 10}), (Texts{"late", "later"})) << "in the order of their puts";
}

TEST(Queue, aWaitingGetIsServedByTheNextPutInItsOrder) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.get(a, {.max = 2}, 5s, 7);
  desk.get(b, {}, kForever, 8);
  EXPECT_EQ(desk.outcome, std::nullopt);
  desk.put(a, {"x", "y", "z"});
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].session, 1U);
  EXPECT_EQ(events[0].request, 7U);
  EXPECT_EQ(desk.note(events[0].messages), (Texts{"x", "y"}));
  EXPECT_EQ(events[1].session, 2U);
  EXPECT_EQ(desk.note(events[1].messages), Texts{"z"});
}

TEST(Queue, aGetDoesNotOvertakeOneThatWaits) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.get(a, {}, 5s, 7);
  desk.queue.pause();
  desk.put(a, {"x", "y"});
  desk.get(b, {}, 5s, 8);
  EXPECT_EQ(desk.outcome, std::nullopt);
  desk.queue.resume(desk.now);
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].request, 7U);
  EXPECT_EQ(desk.note(events[0].messages), Texts{"x"});
}

TEST(Queue, aGetTimesOut) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.get(user, {}, 5s, 7);
  desk.later(5s - 1ns);
  EXPECT_TRUE(desk.events().empty());
  desk.later(1ns);
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].outcome, Outcome::timedOut);
  EXPECT_TRUE(user.waiting.empty());
}

TEST(Queue, aFullQueueMakesPutsWaitInTheirOrder) {
  QueueDesk desk(bound(2));
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  EXPECT_EQ(desk.put(a, {"1", "2", "3", "4"}, 10s, 7), std::nullopt);
  EXPECT_EQ(desk.put(b, {"5"}, 10s, 8), std::nullopt);
  EXPECT_EQ(desk.get(b, {.max = 2}), (Texts{"1", "2"}));
  auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].put.accepted, 4U);
  EXPECT_EQ(events[0].put.firstId, 1U);
  EXPECT_EQ(events[0].outcome, Outcome::done);
  EXPECT_EQ(desk.get(b, {.max = 2}), (Texts{"3", "4"}));
  EXPECT_EQ(desk.events().size(), 1U);
  EXPECT_EQ(desk.get(b, {.max = 2}), Texts{"5"});
}

TEST(Queue, aPutDoesNotOvertakeOneThatWaitsThoughItWouldFit) {
  QueueOptions options;
  options.maxBytes = 10;
  QueueDesk desk(options);
  auto& user = desk.queue.open(1);
  desk.put(user, {"12345"});
  EXPECT_EQ(desk.put(user, {"large678"}, 10s, 7), std::nullopt);
  EXPECT_EQ(desk.put(user, {"s"}, 10s, 8), std::nullopt);
  EXPECT_EQ(desk.put(user, {"t"}, 0s, 9)->outcome, Outcome::full);
  desk.queue.abandon(user, 7, desk.now);
  EXPECT_EQ(desk.ready(), (Texts{"12345", "s"})) << "room behind the one that gave up";
}

TEST(Queue, aPutTimesOutAndTellsHowManyWentIn) {
  QueueDesk desk(bound(2));
  auto& user = desk.queue.open(1);
  EXPECT_EQ(desk.put(user, {"1", "2", "3"}, 3s, 7), std::nullopt);
  desk.later(3s);
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].outcome, Outcome::timedOut);
  EXPECT_EQ(events[0].put.accepted, 2U);
  EXPECT_EQ(desk.store.count(), 2U) << "what did not go in is not kept";
  const auto now = desk.put(user, {"4"});
  EXPECT_EQ(now->outcome, Outcome::full);
  EXPECT_EQ(now->accepted, 0U);
}

TEST(Queue, bytesAreABoundToo) {
  QueueOptions options;
  options.maxBytes = 10;
  QueueDesk desk(options);
  auto& user = desk.queue.open(1);
  EXPECT_EQ(desk.put(user, {"12345", "67890", "x"})->accepted, 2U);
  EXPECT_EQ(desk.put(user, {""})->accepted, 1U) << "a message without bytes fits a queue full of bytes";
}

TEST(Queue, whatIsHandedOutLeavesRoom) {
  QueueDesk desk(bound(1));
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  desk.lease(user);
  EXPECT_EQ(desk.put(user, {"2"})->outcome, Outcome::done);
  desk.get(user);
  EXPECT_EQ(desk.put(user, {"3"})->outcome, Outcome::done);
}

TEST(Queue, aBatchLargerThanTheBoundPassesThroughWaitingGets) {
  QueueDesk desk(bound(1, FullPolicy::reject));
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.get(b, {}, 5s, 7);
  desk.get(b, {}, 5s, 8);
  const auto result = desk.put(a, {"1", "2", "3", "4"});
  EXPECT_EQ(result->accepted, 3U);
  EXPECT_EQ(result->outcome, Outcome::full);
  EXPECT_EQ(desk.events().size(), 2U);
}

TEST(Queue, rejectNeverWaits) {
  QueueDesk desk(bound(1, FullPolicy::reject));
  auto& user = desk.queue.open(1);
  desk.put(user, {"1"});
  EXPECT_EQ(desk.put(user, {"2"}, 10s)->outcome, Outcome::full);
  EXPECT_EQ(desk.store.count(), 1U);
}

TEST(Queue, dropOldestTakesTheOldestOfTheLowestPriority) {
  QueueDesk desk(bound(3, FullPolicy::dropOldest));
  auto& user = desk.queue.open(1);
  desk.put(user, "high", 1);
  desk.put(user, "a", 0);
  desk.put(user, "b", 0);
  EXPECT_EQ(desk.put(user, {"c"})->outcome, Outcome::done);
  EXPECT_EQ(desk.ready(), (Texts{"high", "b", "c"}));
  desk.put(user, "low", -1);
  EXPECT_EQ(desk.ready(), (Texts{"high", "c", "low"}));
  desk.put(user, "low2", -1);
  EXPECT_EQ(desk.ready(), (Texts{"high", "c", "low2"}));
  EXPECT_EQ(desk.queue.counts().dropped, 3U);
  EXPECT_EQ(desk.queue.unfinished(), 3U);
}

TEST(Queue, dropOldestTakesWhatCameBackBeforeWhatCameLater) {
  QueueDesk desk(bound(2, FullPolicy::dropOldest));
  auto& user = desk.queue.open(1);
  auto& mortal = desk.queue.open(2);
  desk.put(user, {"1", "2"});
  desk.lease(mortal);
  desk.queue.end(mortal, desk.now);
  desk.put(user, {"3"});
  EXPECT_EQ(desk.ready(), (Texts{"2", "3"}));
}

TEST(Queue, dropOldestTakesADelayedOneIfNothingIsReady) {
  QueueDesk desk(bound(2, FullPolicy::dropOldest));
  auto& user = desk.queue.open(1);
  desk.put(user, "later", 0, 20s);
  desk.put(user, "soon", 0, 10s);
  desk.put(user, "now", 0);
  EXPECT_EQ(desk.ready(), Texts{"now"});
  desk.later(30s);
  EXPECT_EQ(desk.ready(), (Texts{"later", "now"}));
}

TEST(Queue, aGetIsCutAtTheBytesOfAFrame) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  const std::string large(Queue::kMaxGetBytes / 2, 'x');
  desk.put(user, {large, large, large});
  EXPECT_EQ(desk.get(user, {.max = 10}).size(), 2U);
  const std::string larger(Queue::kMaxGetBytes * 2, 'x');
  desk.put(user, {larger, "s"});
  EXPECT_EQ(desk.get(user, {.max = 10}).size(), 1U) << "the third large one";
  EXPECT_EQ(desk.get(user, {.max = 10}), Texts{larger});
}

TEST(Queue, pausedItIsEmptyToGets) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"x"});
  desk.queue.pause();
  desk.get(user);
  EXPECT_EQ(desk.outcome, Outcome::empty);
  desk.get(user, {}, 5s, 7);
  EXPECT_EQ(desk.outcome, std::nullopt);
  desk.queue.resume(desk.now);
  EXPECT_EQ(desk.events().size(), 1U);
}

TEST(Queue, closedItRefusesPutsAndGivesOutWhatItHas) {
  QueueDesk desk(bound(1));
  auto& user = desk.queue.open(1);
  desk.put(user, {"1", "2"}, 10s, 7);
  desk.queue.close(desk.now);
  auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].outcome, Outcome::closed);
  EXPECT_EQ(events[0].put.accepted, 1U);
  EXPECT_EQ(desk.put(user, {"3"}, 10s)->outcome, Outcome::closed);
  EXPECT_EQ(desk.get(user), Texts{"1"});
  desk.take(user);
  desk.get(user, {}, 10s);
  EXPECT_EQ(desk.outcome, Outcome::closed);
}

TEST(Queue, closedItWaitsForWhatMayComeBack) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1"});
  desk.lease(b);
  desk.queue.close(desk.now);
  desk.get(a, {}, kForever, 7);
  EXPECT_EQ(desk.outcome, std::nullopt) << "b may still die";
  desk.queue.end(b, desk.now);
  auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(desk.note(events[0].messages), Texts{"1"});
  desk.get(a, {}, kForever, 8);
  desk.take(a);
  events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].outcome, Outcome::closed);
}

TEST(Queue, closedAndAckedItIsClosedToWaitingGets) {
  QueueDesk desk;
  auto& a = desk.queue.open(1);
  desk.put(a, {"1"});
  desk.put(a, "2", 0, 10s);
  desk.lease(a);
  desk.get(a, {}, kForever, 7);
  desk.queue.close(desk.now);
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("1"), desk.now));
  EXPECT_TRUE(desk.events().empty()) << "one is delayed";
  desk.later(10s);
  EXPECT_EQ(desk.events().size(), 1U);
}

TEST(Queue, removedEverybodyIsTold) {
  QueueDesk desk(bound(1));
  auto& a = desk.queue.open(1);
  auto& b = desk.queue.open(2);
  desk.put(a, {"1", "2", "3"}, kForever, 7);
  desk.lease(b);
  desk.get(b);
  desk.get(b, {}, kForever, 8);
  desk.queue.join(b, 9, kForever, desk.now);
  desk.events();
  desk.put(a, {"4", "5"}, kForever, 10);
  desk.queue.remove(desk.now);
  for (const auto& event : desk.events()) EXPECT_EQ(event.outcome, Outcome::removed);
  EXPECT_EQ(desk.put(a, {"6"}, kForever)->outcome, Outcome::removed);
  desk.get(a, {}, kForever);
  EXPECT_EQ(desk.outcome, Outcome::removed);
  EXPECT_FALSE(desk.queue.ack(desk.leaseOf("1"), desk.now));
  for (auto& grave : desk.outbox.graves) EXPECT_TRUE(grave.free(desk.store, SIZE_MAX));
  desk.outbox.graves.clear();
  EXPECT_EQ(desk.store.count(), 0U);
  desk.queue.end(a, desk.now);
  desk.queue.end(b, desk.now);
  EXPECT_EQ(desk.queue.nextDue(), kForever);
}

TEST(Queue, purgeLeavesWhatIsHandedOut) {
  QueueDesk desk(bound(3));
  auto& user = desk.queue.open(1);
  desk.put(user, {"1", "2"});
  desk.put(user, "3", 5, 10s);
  desk.lease(user);
  EXPECT_EQ(desk.put(user, {"4", "5"}, kForever, 7), std::nullopt);
  desk.queue.purge(desk.now);
  EXPECT_EQ(desk.ready(), Texts{"5"}) << "the purge made room";
  EXPECT_EQ(desk.queue.unfinished(), 2U);
  desk.later(20s);
  EXPECT_EQ(desk.ready(), Texts{"5"});
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("1"), desk.now));
  EXPECT_EQ(desk.queue.bytes(), 1U);
}

TEST(Queue, aGraveIsEmptiedInPieces) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  for (int i = 0; i < 10; ++i) desk.put(user, "x", i % 2, Time(i % 3));
  desk.lease(user, 2);
  desk.get(user, {.max = 2});
  desk.queue.remove(desk.now);
  std::size_t calls = 0;
  for (auto& grave : desk.outbox.graves) {
    while (!grave.free(desk.store, 1)) ++calls;
  }
  EXPECT_GE(calls, 8U);
  EXPECT_EQ(desk.store.count(), 0U);
}

TEST(Queue, peekShowsTheOrderOfDeliveryAndTakesNothing) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"1", "2", "3", "4"});
  desk.put(user, "high", 1);
  const auto texts = [&](std::size_t max, std::uint64_t after) {
    Texts all;
    for (const auto* message : desk.queue.peek(max, after)) all.push_back(QueueDesk::textOf(message));
    return all;
  };
  EXPECT_EQ(texts(3, 0), (Texts{"high", "1", "2"}));
  EXPECT_EQ(texts(3, 2), (Texts{"3", "4"}));
  EXPECT_EQ(texts(3, 5), (Texts{"1", "2", "3"}));
  EXPECT_EQ(desk.get(user, {.max = 3}), (Texts{"high", "1", "2"}));
  EXPECT_EQ(texts(9, 1), (Texts{"3", "4"})) << "it is gone: those with a later id";
  EXPECT_EQ(desk.queue.ready(), 2U);
}

TEST(Queue, joinWaitsForAcksAndDones) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  EXPECT_EQ(desk.queue.join(user, 6, desk.now, desk.now), true) << "nothing was put yet";
  desk.put(user, {"leased", "taken"});
  EXPECT_EQ(desk.queue.join(user, 6, desk.now, desk.now), false);
  EXPECT_EQ(desk.queue.join(user, 7, kForever, desk.now), std::nullopt);
  desk.lease(user);
  EXPECT_FALSE(desk.queue.done(1, desk.now)) << "nothing was got without lease";
  desk.get(user);
  desk.take(user);
  EXPECT_TRUE(desk.queue.ack(desk.leaseOf("leased"), desk.now));
  EXPECT_TRUE(desk.events().empty());
  EXPECT_TRUE(desk.queue.done(1, desk.now));
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].kind, QueueWaiter::Kind::join);
  EXPECT_EQ(events[0].request, 7U);
  EXPECT_FALSE(desk.queue.done(1, desk.now));
}

TEST(Queue, joinTimesOut) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  desk.put(user, {"x"});
  EXPECT_EQ(desk.queue.join(user, 7, desk.now + 1s, desk.now), std::nullopt);
  desk.later(1s);
  const auto events = desk.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].outcome, Outcome::timedOut);
}

TEST(Queue, ratesAreOfTheLastMinute) {
  QueueDesk desk;
  auto& user = desk.queue.open(1);
  for (int second = 0; second < 120; ++second) {
    desk.put(user, {"x", "x"});
    desk.get(user);
    desk.take(user);
    desk.later(1s);
  }
  EXPECT_NEAR(desk.queue.putRate(desk.now), 2.0, 0.1);
  EXPECT_NEAR(desk.queue.getRate(desk.now), 1.0, 0.05);
  desk.later(61s);
  EXPECT_EQ(desk.queue.putRate(desk.now), 0.0);
  EXPECT_EQ(desk.queue.oldest(desk.now), 121s) << "60 of 120 pairs are left, the first of the 61st second";
}

TEST(Queue, whatItHoldsIsFreedWithIt) {
  QueueOutbox outbox;
  MessageAccount account;
  MessageStore store(1U << 20);
  {
    Queue queue(bound(4), store, outbox, 1h);
    auto& user = queue.open(1);
    std::vector<QueueMessage*> messages;
    for (int i = 0; i < 8; ++i) {
      messages.push_back(store.make(account, {}));
      messages.back()->priority = i % 3;
      messages.back()->due = i == 2 ? 2h : 0h;
    }
    queue.put(user, 1, messages, kForever, 1h);
    std::vector<QueueMessage*> out;
    queue.get(user, 2, {}, 1h, 1h, out);
    queue.get(user, 3, {.lease = true}, 1h, 1h, out);
    queue.get(user, 4, {.lease = true, .detached = true}, 1h, 1h, out);
    EXPECT_EQ(out.size(), 3U);
  }
  EXPECT_EQ(store.count(), 0U);
  EXPECT_EQ(account.bytes, 0U);
}

TEST(MessageStore, chargesBeforeItAllocates) {
  MessageAccount account;
  MessageAccount other;
  MessageStore store(2 * MessageStore::cost(100));
  const std::vector<std::byte> value(100);
  QueueMessage* a = store.make(account, value);
  QueueMessage* b = store.make(account, value);
  EXPECT_NE(a, nullptr);
  EXPECT_NE(b, nullptr);
  EXPECT_EQ(store.make(account, {}), nullptr);
  QueueMessage* c = store.make(other, value);
  EXPECT_NE(c, nullptr) << "an account of its own";
  store.free(a);
  EXPECT_NE(a = store.make(account, value), nullptr);
  for (QueueMessage* message : {a, b, c}) store.free(message);
  EXPECT_EQ(store.bytes(), 0U);
}

#ifndef BATON_SANITIZED
TEST(Queue, anIdleOneIsSmall) {
  MessageStore store(1U << 20);
  QueueOutbox outbox;
  MessageAccount account;
  std::vector<std::unique_ptr<Queue>> queues;
  queues.reserve(1000);
  const auto before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) {
    auto& queue = *queues.emplace_back(std::make_unique<Queue>(QueueOptions{}, store, outbox, 1h));
    auto& user = queue.open(1);
    QueueMessage* message = store.make(account, {});
    queue.put(user, 1, {&message, 1}, 1h, 1h);
    std::vector<QueueMessage*> out;
    queue.get(user, 2, {}, 1h, 1h, out);
    EXPECT_TRUE(queue.taken(user, 1, 1h));
    queue.end(user, 1h);
  }
  EXPECT_LT((mallinfo2().uordblks - before) / 1000, 1800U)
      << "2 KiB with its name and its place in the table";
}
#endif

}  // namespace
}  // namespace baton::daemon
