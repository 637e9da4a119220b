// Long histories of a queue, step by step beside an oracle; and a ledger of every message.
#include <cstdlib>
#include <random>
#include <set>

#include "tests/daemon/queue_desk.h"
#include "tests/daemon/queue_oracle.h"

namespace baton::daemon::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kUsers = 4;

class Twins {
 public:
  Twins(unsigned seed, QueueOptions options)
      : random_(seed), desk_(options), oracle_(options), blocks_(options.whenFull == FullPolicy::block) {
    for (std::uint64_t user = 1; user <= kUsers; ++user) users_[user] = &desk_.queue.open(user);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      step();
      compare();
      if (testing::Test::HasFailure()) ADD_FAILURE() << "at step " << i << ": " << last_;
    }
    // In the end everything can be had: nothing is lost but what the rules let go.
    if (desk_.queue.paused()) {
      desk_.queue.resume(desk_.now);
      oracle_.resume(desk_.now);
    }
    ledger();
  }

 private:
  unsigned below(unsigned bound) { return std::uniform_int_distribution<unsigned>(0, bound - 1)(random_); }
  bool chance(unsigned percent) { return below(100) < percent; }
  std::uint64_t anyUser() { return 1 + below(kUsers); }
  Time anyTimeout() {
    return chance(40) ? 0s : chance(10) ? kForever : Time(std::chrono::seconds(1 + below(20)));
  }

  void step() {
    const unsigned what = below(100);
    if (what < 30) {
      put();
    } else if (what < 58) {
      get();
    } else if (what < 66) {
      take();
    } else if (what < 80) {
      settle();
    } else if (what < 88) {
      pass();
    } else if (what < 91) {
      end();
    } else if (what < 94) {
      abandon();
    } else if (what < 97) {
      join();
    } else {
      control();
    }
  }

  void put() {
    const std::uint64_t user = anyUser();
    std::vector<QueueMessage*> messages;
    std::vector<QueueOracle::New> twins;
    for (unsigned i = 1 + below(4); i > 0; --i) {
      std::string text = std::to_string(++texts_);
      text.resize(below(12) + text.size(), ' ');
      const int priority = chance(70) ? 0 : static_cast<int>(below(5)) - 2;
      const Time delay = chance(85) ? 0s : Time(std::chrono::seconds(below(10)));
      messages.push_back(desk_.message(text, priority, delay));
      twins.push_back({text, priority, messages.back()->due});
    }
    const Time timeout = anyTimeout();
    const std::uint64_t request = ++requests_;
    last_ = "put";
    const auto result = desk_.queue.put(*users_[user], request, messages, desk_.until(timeout), desk_.now);
    const auto expected = oracle_.put(user, request, twins, desk_.until(timeout), desk_.now);
    ASSERT_EQ(result.has_value(), expected.has_value());
    if (!result) return;
    EXPECT_EQ(result->outcome, expected->outcome);
    EXPECT_EQ(result->accepted, expected->accepted);
  }

  void get() {
    const std::uint64_t user = anyUser();
    GetOptions options{.max = 1 + below(4), .lease = chance(60), .leaseTime = {}, .detached = chance(10)};
    if (chance(50)) options.leaseTime = std::chrono::seconds(1 + below(30));
    options.detached = options.detached && options.lease;
    const Time timeout = anyTimeout();
    const std::uint64_t request = ++requests_;
    last_ = "get";
    std::vector<QueueMessage*> out;
    const auto outcome =
        desk_.queue.get(*users_[user], request, options, desk_.until(timeout), desk_.now, out);
    const auto expected = oracle_.get(user, request, options, desk_.until(timeout), desk_.now);
    ASSERT_EQ(outcome.has_value(), expected.has_value());
    if (!outcome) return;
    EXPECT_EQ(*outcome, expected->outcome);
    EXPECT_EQ(noted(out), expected->messages);
  }

  void take() {
    const std::uint64_t user = anyUser();
    const std::size_t count = below(static_cast<unsigned>(users_[user]->delivered.size()) + 1);
    last_ = "take";
    EXPECT_TRUE(desk_.queue.taken(*users_[user], users_[user]->takenEver + count, desk_.now));
    oracle_.taken(user, count, desk_.now);
    if (chance(50)) {
      const std::uint64_t dones = chance(30) ? below(4) : oracle_.undone;
      EXPECT_EQ(desk_.queue.done(dones, desk_.now), oracle_.done(dones, desk_.now));
    }
  }

  void settle() {
    if (desk_.leases.empty()) return;
    // Now and then one that was over long ago.
    auto at = std::next(desk_.leases.begin(), below(static_cast<unsigned>(desk_.leases.size())));
    for (auto try_ = 0; try_ < 8 && oracle_.leased(at->first) == nullptr; ++try_) {
      at = std::next(desk_.leases.begin(), below(static_cast<unsigned>(desk_.leases.size())));
    }
    const auto [text, lease] = *at;
    const Time delay = chance(60) ? 0s : Time(std::chrono::seconds(1 + below(10)));
    bool real = false;
    bool expected = false;
    switch (below(4)) {
      case 0:
        last_ = "ack";
        real = desk_.queue.ack(lease, desk_.now);
        expected = oracle_.ack(text, desk_.now);
        break;
      case 1:
        last_ = "nack";
        real = desk_.queue.giveBack(lease, true, delay, desk_.now);
        expected = oracle_.giveBack(text, true, delay, desk_.now);
        break;
      case 2:
        last_ = "give back";
        real = desk_.queue.giveBack(lease, false, 0s, desk_.now);
        expected = oracle_.giveBack(text, false, 0s, desk_.now);
        break;
      default:
        last_ = "renew";
        real = desk_.queue.renew(lease, delay, desk_.now);
        expected = oracle_.renew(text, delay, desk_.now);
    }
    EXPECT_EQ(real, expected);
    desk_.leases.erase(text);
    if (last_ == "renew" && real) desk_.leases[text] = lease;
  }

  void pass() {
    last_ = "time";
    desk_.now +=
        chance(20) ? Time(std::chrono::seconds(below(40))) : Time(std::chrono::milliseconds(below(3000)));
    while (desk_.queue.nextDue() <= desk_.now) desk_.queue.expire(desk_.now);
    oracle_.pass(desk_.now);
  }

  void end() {
    const std::uint64_t user = anyUser();
    last_ = "end";
    desk_.queue.end(*users_[user], desk_.now);
    oracle_.end(user, desk_.now);
    users_[user] = &desk_.queue.open(user);
  }

  void abandon() {
    if (oracle_.waits.empty()) return;
    const auto wait = oracle_.waits[below(static_cast<unsigned>(oracle_.waits.size()))];
    last_ = "abandon";
    EXPECT_TRUE(desk_.queue.abandon(*users_[wait.user], wait.request, desk_.now));
    EXPECT_TRUE(oracle_.abandon(wait.user, wait.request, desk_.now));
  }

  void join() {
    const std::uint64_t user = anyUser();
    const Time deadline = desk_.until(anyTimeout());
    const std::uint64_t request = ++requests_;
    last_ = "join";
    EXPECT_EQ(desk_.queue.join(*users_[user], request, deadline, desk_.now),
              oracle_.join(user, request, deadline, desk_.now));
  }

  void control() {
    if (desk_.queue.paused()) {
      last_ = "resume";
      desk_.queue.resume(desk_.now);
      oracle_.resume(desk_.now);
    } else if (chance(70)) {
      last_ = "pause";
      desk_.queue.pause();
      oracle_.paused = true;
    } else if (chance(80)) {
      last_ = "purge";
      purged_ += desk_.queue.ready() + desk_.queue.delayed();
      desk_.queue.purge(desk_.now);
      oracle_.purge(desk_.now);
    } else if (requests_ > 250) {
      last_ = "close";
      desk_.queue.close(desk_.now);
      oracle_.close(desk_.now);
    }
  }

  std::vector<std::pair<std::string, std::uint32_t>> noted(const std::vector<QueueMessage*>& messages) {
    std::vector<std::pair<std::string, std::uint32_t>> all;
    for (const auto& text : desk_.note(messages)) all.emplace_back(text, desk_.attemptOf(text));
    for (const QueueMessage* message : messages) {
      if (message->lease == 0) desk_.leases.erase(QueueDesk::textOf(message));
    }
    return all;
  }

  void compare() {
    std::vector<Answer> answers;
    for (const QueueEvent& event : desk_.events()) {
      answers.push_back({event.kind, event.session, event.request, event.outcome, event.put.accepted,
                         noted(event.messages)});
    }
    ASSERT_EQ(answers.size(), oracle_.answers.size());
    for (std::size_t i = 0; i < answers.size(); ++i) {
      // Who is told first does not matter between puts, gets and joins; among each it does.
      ASSERT_TRUE(answers[i] == oracle_.answers[i])
          << "answer " << i << ": request " << answers[i].request << " and " << oracle_.answers[i].request;
    }
    oracle_.answers.clear();
    ASSERT_EQ(desk_.ready(), oracle_.ready());
    ASSERT_EQ(desk_.queue.delayed(), oracle_.count(QueueOracle::Place::delayed));
    ASSERT_EQ(desk_.queue.handedOut(), oracle_.handedOut());
    ASSERT_EQ(desk_.queue.unfinished(), oracle_.unfinished);
    ASSERT_EQ(desk_.outbox.dead.size(), oracle_.dead.size());
    ASSERT_EQ(desk_.queue.counts().dropped, oracle_.dropped.size());
    std::uint64_t bytes = 0;
    for (const auto& message : oracle_.messages) bytes += message.text.size();
    ASSERT_EQ(desk_.queue.bytes(), bytes);
    ledger();
  }

  // Every accepted message is in one place, or gone by one of the ways there are.
  void ledger() {
    const QueueCounts& counts = desk_.queue.counts();
    ASSERT_EQ(counts.put, desk_.queue.ready() + desk_.queue.delayed() + desk_.queue.handedOut() +
                              counts.acked + counts.dropped + counts.dead + purged_);
    std::size_t waiting = 0;
    for (const QueueWaiter& putter : desk_.queue.putters()) waiting += putter.messages.size() - putter.next;
    std::size_t graves = 0;
    for (const QueueGrave& grave : desk_.outbox.graves) {
      graves += grave.fifo.size() + grave.ordered.size() + grave.delayed.size();
    }
    ASSERT_EQ(desk_.store.count(), desk_.queue.ready() + desk_.queue.delayed() + desk_.queue.handedOut() +
                                       waiting + graves + desk_.outbox.dead.size());
  }

  std::mt19937 random_;
  QueueDesk desk_;
  QueueOracle oracle_;
  [[maybe_unused]] bool blocks_;
  std::map<std::uint64_t, QueueUser*> users_;
  std::uint64_t texts_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t purged_ = 0;
  std::string last_;
};

TEST(QueueSimulation, theQueueDoesWhatTheOracleSays) {
  const char* full = std::getenv("BATON_FULL");
  const unsigned seeds = full != nullptr ? 20'000 : 300;
  for (unsigned seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    QueueOptions options;
    options.maxMessages = 1 + seed % 7;
    options.maxBytes = seed % 3 == 0 ? 40 : 1000;
    options.whenFull = static_cast<FullPolicy>(seed % 3);
    options.maxAttempts = seed % 4 == 0 ? 3 : 0;
    options.lease = 5s;
    Twins(seed, options).run(1'000);
  }
}

}  // namespace
}  // namespace baton::daemon::sim
