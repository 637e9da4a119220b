#include "daemon/queue_table.h"

#include <gtest/gtest.h>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

using namespace std::chrono_literals;
using Outcome = QueueOutcome;
using Texts = std::vector<std::string>;

constexpr Uid kAnna = 1000;
constexpr Uid kBert = 1001;

ObjectHead head(const std::string& name, Uid uid = kAnna) {
  return {{uid, name}, uid, 0600, 1};
}

Code codeOf(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return Code::ok;
}

class QueueTables : public testing::Test {
 protected:
  std::optional<PutResult> put(TableQueue& queue, QueueUser& user, const Texts& texts, Time timeout = 0s) {
    std::vector<QueueTable::NewMessage> messages;
    for (const auto& text : texts) messages.push_back({std::as_bytes(std::span(text)), 0, 0s});
    return table.put(queue, user, 1, messages, now + timeout, now);
  }
  Texts get(TableQueue& queue, QueueUser& user, bool lease = false) {
    std::vector<QueueMessage*> out;
    static_cast<void>(queue.queue.get(user, 2, {.max = 100, .lease = lease}, now, now, out));
    table.settle(queue, now);
    Texts texts;
    for (const QueueMessage* message : out) {
      texts.emplace_back(reinterpret_cast<const char*>(message->bytes()), message->size);
      lastLease = message->lease;
    }
    return texts;
  }
  void nack(TableQueue& queue) {
    ASSERT_TRUE(queue.queue.giveBack(lastLease, true, 0s, now));
    table.settle(queue, now);
  }
  void later(Time time) {
    now += time;
    while (table.nextDue() <= now) table.expire(now);
  }

  Time now = 1h;
  QueueTable table{{.queues = 3, .bytes = 4096}};
  std::uint64_t lastLease = 0;
};

TEST_F(QueueTables, aUidHasItsOwnNamesAndItsOwnLimits) {
  table.make(head("a"), {}, now);
  table.make(head("b"), {}, now);
  table.make(head("c"), {}, now);
  EXPECT_EQ(codeOf([&] { table.make(head("d"), {}, now); }), Code::quota);
  const auto other = table.make(head("a", kBert), {}, now);
  EXPECT_NE(table.find({kAnna, "a"}), other);
  EXPECT_EQ(table.find({kAnna, "d"}), nullptr);
  table.remove(table.find({kAnna, "a"}), 0, false, now);
  EXPECT_EQ(codeOf([&] { table.make(head("d"), {}, now); }), Code::ok);
  table.setLimits({.queues = 4, .bytes = 4096});
  EXPECT_EQ(codeOf([&] { table.make(head("e"), {}, now); }), Code::ok);
}

TEST_F(QueueTables, optionsThatMakeNoSenseAreRefused) {
  const auto refused = [&](QueueOptions options) {
    return codeOf([&] { table.make(head("q"), std::move(options), now); });
  };
  EXPECT_EQ(refused({.maxMessages = 0}), Code::usage);
  EXPECT_EQ(refused({.maxBytes = 0}), Code::usage);
  EXPECT_EQ(refused({.maxAttempts = 2'000'000}), Code::usage);
  EXPECT_EQ(refused({.lease = 0s}), Code::usage);
  EXPECT_EQ(refused({.maxAttempts = 1, .deadLetters = "q"}), Code::usage);
  EXPECT_EQ(refused({.maxAttempts = 1, .deadLetters = "bert:q"}), Code::usage);
  EXPECT_EQ(refused({.deadLetters = "dead"}), Code::usage) << "nothing would ever go there";
}

TEST_F(QueueTables, theBytesOfAUidAreBounded) {
  const auto a = table.make(head("a"), {}, now);
  const auto b = table.make(head("b"), {}, now);
  const auto c = table.make(head("c", kBert), {}, now);
  auto& userA = a->queue.open(1);
  auto& userB = b->queue.open(1);
  auto& userC = c->queue.open(1);
  const std::string text(1000, 'x');
  EXPECT_EQ(put(*a, userA, {text, text})->outcome, Outcome::done);
  const auto partly = put(*b, userB, {text, text, text});
  EXPECT_EQ(partly->accepted, 1U);
  EXPECT_EQ(partly->outcome, Outcome::full);
  EXPECT_EQ(codeOf([&] { put(*b, userB, {text}); }), Code::quota);
  EXPECT_EQ(put(*c, userC, {text})->outcome, Outcome::done) << "another uid";
  get(*a, userA);
  EXPECT_EQ(codeOf([&] { put(*b, userB, {text}); }), Code::quota) << "handed out, and still held";
  EXPECT_TRUE(a->queue.taken(userA, 2, now));
  EXPECT_EQ(put(*b, userB, {text})->outcome, Outcome::done);
}

TEST_F(QueueTables, whatAPutWaitsWithIsChargedToo) {
  const auto a = table.make(head("a"), {.maxMessages = 1}, now);
  auto& user = a->queue.open(1);
  const std::string text(1000, 'x');
  EXPECT_EQ(put(*a, user, {text, text, text}, 10s), std::nullopt);
  EXPECT_EQ(codeOf([&] { put(*a, user, {text}, 10s); }), Code::quota);
  later(10s);
  ASSERT_EQ(table.takeEvents().size(), 1U);
  EXPECT_EQ(table.bytes(), MessageStore::cost(1000));
}

TEST_F(QueueTables, aMessageBeyondTheBoundIsRefusedAndNothingIsPut) {
  const auto a = table.make(head("a"), {.maxBytes = 10}, now);
  auto& user = a->queue.open(1);
  EXPECT_EQ(codeOf([&] { put(*a, user, {"x", "12345678901"}); }), Code::tooLarge);
  EXPECT_EQ(a->queue.ready(), 0U);
  const auto b = table.make(head("b"), {}, now);
  auto& other = b->queue.open(1);
  EXPECT_EQ(codeOf([&] { put(*b, other, {std::string(1 << 20, 'x')}); }), Code::tooLarge);
}

TEST_F(QueueTables, aDeadMessageGoesToTheDeadLetterQueue) {
  const auto a = table.make(head("a"), {.maxAttempts = 2, .deadLetters = "dead"}, now);
  const auto dead = table.make(head("dead"), {}, now);
  auto& user = a->queue.open(1);
  auto& waiting = dead->queue.open(2);
  std::vector<QueueMessage*> out;
  static_cast<void>(dead->queue.get(waiting, 9, {}, kForever, now, out));
  put(*a, user, {"poison"});
  get(*a, user, true);
  nack(*a);
  EXPECT_EQ(get(*a, user, true), Texts{"poison"});
  nack(*a);
  EXPECT_EQ(a->queue.ready(), 0U);
  const auto events = table.takeEvents();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].request, 9U);
  EXPECT_EQ(events[0].messages.at(0)->attempt, 1U);
  EXPECT_EQ(a->queue.counts().dead, 1U);
  EXPECT_EQ(a->queue.counts().dropped, 0U);
}

TEST_F(QueueTables, aDeadLetterQueueThatIsAbsentIsMade) {
  const auto a = table.make(head("a"), {.maxAttempts = 1, .deadLetters = "dead", .lease = 5s}, now);
  auto& user = a->queue.open(1);
  put(*a, user, {"poison"});
  get(*a, user, true);
  later(5s);
  const auto dead = table.find({kAnna, "dead"});
  ASSERT_NE(dead, nullptr);
  EXPECT_EQ(dead->queue.ready(), 1U);
  EXPECT_EQ(dead->head.createdNs, 1U + 5'000'000'000U);
}

TEST_F(QueueTables, aFullDeadLetterQueueTakesThemAllTheSame) {
  const auto a = table.make(head("a"), {.maxAttempts = 1, .deadLetters = "dead"}, now);
  const auto dead = table.make(head("dead"), {.maxMessages = 1, .whenFull = FullPolicy::reject}, now);
  auto& user = a->queue.open(1);
  put(*a, user, {"1", "2", "3"});
  get(*a, user, true);
  a->queue.end(user, now);
  table.settle(*a, now);
  EXPECT_EQ(dead->queue.ready(), 3U);
}

TEST_F(QueueTables, whatNoQueueCanTakeIsCounted) {
  const auto a = table.make(head("a"), {.maxAttempts = 1, .deadLetters = "dead"}, now);
  const auto dead = table.make(head("dead"), {}, now);
  dead->queue.close(now);
  auto& user = a->queue.open(1);
  put(*a, user, {"1"});
  get(*a, user, true);
  nack(*a);
  EXPECT_EQ(a->queue.counts().dropped, 1U);
  EXPECT_EQ(table.bytes(), 0U);

  table.remove(dead, 0, false, now);
  table.make(head("b"), {}, now);
  table.make(head("c"), {}, now);
  put(*a, user, {"2"});
  get(*a, user, true);
  nack(*a);
  EXPECT_EQ(a->queue.counts().dropped, 2U) << "no queue can be made any more";
}

TEST_F(QueueTables, duesOfAllQueuesAreKeptInOrder) {
  const auto a = table.make(head("a"), {}, now);
  const auto b = table.make(head("b"), {}, now);
  auto& userA = a->queue.open(1);
  auto& userB = b->queue.open(2);
  std::vector<QueueMessage*> out;
  static_cast<void>(a->queue.get(userA, 1, {}, now + 10s, now, out));
  table.settle(*a, now);
  static_cast<void>(b->queue.get(userB, 2, {}, now + 5s, now, out));
  table.settle(*b, now);
  EXPECT_EQ(table.nextDue(), now + 5s);
  put(*b, userB, {"x"});
  EXPECT_EQ(table.nextDue(), now + 10s);
  later(10s);
  const auto events = table.takeEvents();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[1].outcome, Outcome::timedOut);
  EXPECT_EQ(table.nextDue(), kForever);
}

TEST_F(QueueTables, aDelayIsFromNowOnAndMayBeForEver) {
  const auto a = table.make(head("a"), {}, now);
  auto& user = a->queue.open(1);
  const std::vector<QueueTable::NewMessage> messages = {{{}, 0, 3s}, {{}, 0, kForever}};
  table.put(*a, user, 1, messages, now, now);
  EXPECT_EQ(table.nextDue(), now + 3s);
  later(3s);
  EXPECT_EQ(a->queue.ready(), 1U);
  later(std::chrono::hours(100'000));
  EXPECT_EQ(a->queue.delayed(), 1U);
}

TEST_F(QueueTables, whatIsUsedOrHasMessagesIsNotRemovedWithoutForce) {
  const auto a = table.make(head("a"), {}, now);
  auto& mine = a->queue.open(1);
  put(*a, mine, {"x"});
  EXPECT_EQ(codeOf([&] { table.remove(a, 1, false, now); }), Code::refused);
  get(*a, mine);
  EXPECT_EQ(codeOf([&] { table.remove(a, 1, false, now); }), Code::refused) << "it may come back";
  EXPECT_TRUE(a->queue.taken(mine, 1, now));
  auto& other = a->queue.open(2);
  EXPECT_EQ(codeOf([&] { table.remove(a, 1, false, now); }), Code::refused);
  a->queue.end(other, now);
  EXPECT_EQ(codeOf([&] { table.remove(a, 1, false, now); }), Code::ok);
  EXPECT_EQ(table.find({kAnna, "a"}), nullptr);

  const auto b = table.make(head("a"), {}, now);
  auto& user = b->queue.open(2);
  put(*b, user, {"x", "y"});
  table.remove(b, 1, true, now);
  EXPECT_TRUE(table.sweeping());
  while (table.sweep()) {
  }
  EXPECT_EQ(table.bytes(), 0U);
  b->queue.end(user, now);
  table.settle(*b, now);
}

}  // namespace
}  // namespace baton::daemon
