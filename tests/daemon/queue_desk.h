// A queue, a hand on its clock, and some users, for tests that speak of single events. Values are texts.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "daemon/queue.h"

namespace baton::daemon::sim {

using Texts = std::vector<std::string>;

class QueueDesk {
 public:
  explicit QueueDesk(QueueOptions options = {}, std::uint64_t limit = 1ULL << 30)
      : store(limit), queue(std::move(options), store, outbox, now) {}
  ~QueueDesk() {
    for (QueueMessage* message : outbox.dead) store.free(message);
    for (auto& grave : outbox.graves) EXPECT_TRUE(grave.free(store, SIZE_MAX));
  }

  void later(Time time) {
    now += time;
    while (queue.nextDue() <= now) queue.expire(now);
  }
  QueueMessage* message(std::string_view text, int priority = 0, Time delay = Time{0}) {
    QueueMessage* made = store.make(account, std::as_bytes(std::span(text)));
    made->priority = priority;
    made->due = delay == Time{0} ? Time{0} : now + delay;
    return made;
  }
  // Each text a message of one put. nullopt: it waits.
  std::optional<PutResult> put(QueueUser& user, const Texts& texts, Time timeout = Time{0},
                               std::uint64_t request = 1) {
    std::vector<QueueMessage*> messages;
    for (const auto& text : texts) messages.push_back(message(text));
    return queue.put(user, request, messages, until(timeout), now);
  }
  void put(QueueUser& user, std::string_view text, int priority, Time delay = Time{0}) {
    QueueMessage* made = message(text, priority, delay);
    const auto result = queue.put(user, 1, {&made, 1}, now, now);
    ASSERT_TRUE(result.has_value());
    ASSERT_EQ(result->outcome, QueueOutcome::done);
  }
  // What it gets at once; the outcome is in `outcome`, nullopt if it waits.
  Texts get(QueueUser& user, GetOptions options = {}, Time timeout = Time{0}, std::uint64_t request = 2) {
    std::vector<QueueMessage*> out;
    outcome = queue.get(user, request, options, until(timeout), now, out);
    return note(out);
  }
  Texts lease(QueueUser& user, std::uint32_t max = 1, Time time = Time{0}) {
    return get(user, {.max = max, .lease = true, .leaseTime = time});
  }
  std::uint64_t leaseOf(const std::string& text) const { return leases.at(text); }
  std::uint32_t attemptOf(const std::string& text) const { return attempts.at(text); }
  void take(QueueUser& user) { EXPECT_TRUE(queue.taken(user, user.deliveredEver, now)); }

  // The ends of waits since the last call, in order.
  std::vector<QueueEvent> events() { return std::exchange(outbox.events, {}); }
  // What one event brought.
  Texts note(const std::vector<QueueMessage*>& messages) {
    Texts texts;
    for (const QueueMessage* message : messages) {
      texts.push_back(textOf(message));
      leases[texts.back()] = message->lease;
      attempts[texts.back()] = message->attempt;
    }
    return texts;
  }
  static std::string textOf(const QueueMessage* message) {
    return {reinterpret_cast<const char*>(message->bytes()), message->size};
  }
  Texts ready() const {
    Texts texts;
    for (const QueueMessage* message : queue.peek(1000, 0)) texts.push_back(textOf(message));
    return texts;
  }
  Time until(Time timeout) const { return timeout == kForever ? kForever : now + timeout; }

  Time now = std::chrono::hours(1);
  MessageAccount account;
  MessageStore store;
  QueueOutbox outbox;
  Queue queue;
  std::optional<QueueOutcome> outcome;
  std::map<std::string, std::uint64_t> leases;
  std::map<std::string, std::uint32_t> attempts;
};

}  // namespace baton::daemon::sim
