// What a queue should do, in the plainest way: every message in one list, every rule a loop over it. Slow,
// and easy to believe.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "daemon/queue.h"

namespace baton::daemon::sim {

// One answer, as the queue's events are compared with the oracle's.
struct Answer {
  QueueWaiter::Kind kind = QueueWaiter::Kind::get;
  std::uint64_t user = 0;
  std::uint64_t request = 0;
  QueueOutcome outcome = QueueOutcome::done;
  std::uint32_t accepted = 0;
  std::vector<std::pair<std::string, std::uint32_t>> messages;  // text, attempt
  bool operator==(const Answer&) const = default;
};

class QueueOracle {
 public:
  enum class Place { ready, delayed, leased, delivered };
  struct Message {
    std::string text;
    std::uint64_t id = 0;
    int priority = 0;
    Place place = Place::ready;
    std::uint32_t attempt = 0;
    Time due{0};               // delayed, leased
    std::uint64_t holder = 0;  // 0: nobody
    std::uint64_t turn = 0;    // of its handing out, counts up
  };
  struct New {
    std::string text;
    int priority = 0;
    Time due{0};
  };
  struct Wait {
    QueueWaiter::Kind kind;
    std::uint64_t user = 0;
    std::uint64_t request = 0;
    Time deadline{0};
    GetOptions get;
    std::vector<New> outside;
    std::uint32_t accepted = 0;
    std::uint64_t number = 0;
  };

  explicit QueueOracle(QueueOptions options) : options_(std::move(options)) {}

  std::optional<Answer> put(std::uint64_t user, std::uint64_t request, std::vector<New> messages,
                            Time deadline, Time now) {
    Answer answer{QueueWaiter::Kind::put, user, request, QueueOutcome::done, 0, {}};
    if (closed) {
      answer.outcome = QueueOutcome::closed;
      return answer;
    }
    const bool behind = std::any_of(waits.begin(), waits.end(), isPut);
    if (!behind) {
      takeIn(messages, answer.accepted, now);
      settle(now);
    }
    if (messages.empty()) return answer;
    if (options_.whenFull == FullPolicy::block && deadline > now) {
      waits.push_back(
          {QueueWaiter::Kind::put, user, request, deadline, {}, messages, answer.accepted, ++numbers_});
      return std::nullopt;
    }
    answer.outcome = QueueOutcome::full;
    return answer;
  }

  std::optional<Answer> get(std::uint64_t user, std::uint64_t request, const GetOptions& options,
                            Time deadline, Time now) {
    Answer answer{QueueWaiter::Kind::get, user, request, QueueOutcome::done, 0, {}};
    const bool behind = std::any_of(waits.begin(), waits.end(), isGet);
    if (!paused && !behind && next() != nullptr) {
      handOut(user, options, answer, now);
      settle(now);
      return answer;
    }
    answer.outcome = exhausted() ? QueueOutcome::closed : QueueOutcome::empty;
    if (exhausted() || deadline <= now) return answer;
    waits.push_back({QueueWaiter::Kind::get, user, request, deadline, options, {}, 0, ++numbers_});
    return std::nullopt;
  }

  // nullopt: waits.
  std::optional<bool> join(std::uint64_t user, std::uint64_t request, Time deadline, Time now) {
    if (unfinished == 0) return true;
    if (deadline <= now) return false;
    waits.push_back({QueueWaiter::Kind::join, user, request, deadline, {}, {}, 0, ++numbers_});
    return std::nullopt;
  }

  void taken(std::uint64_t user, std::size_t count, Time now) {
    for (; count > 0; --count) {
      messages.erase(messages.begin() + (firstOf(user, Place::delivered) - messages.data()));
    }
    settle(now);
  }
  bool ack(const std::string& text, Time now) {
    Message* message = leased(text);
    if (message == nullptr) return false;
    messages.erase(messages.begin() + (message - messages.data()));
    finished(1);
    settle(now);
    return true;
  }
  bool giveBack(const std::string& text, bool counts, Time delay, Time now) {
    Message* message = leased(text);
    if (message == nullptr) return false;
    comeBack(*message, counts, delay, now);
    settle(now);
    return true;
  }
  bool renew(const std::string& text, Time time, Time now) {
    Message* message = leased(text);
    if (message == nullptr) return false;
    message->due = now + (time == Time{0} ? options_.lease : time);
    return true;
  }
  bool done(std::uint64_t count, Time now) {
    if (count > undone) return false;
    undone -= count;
    finished(count);
    settle(now);
    return true;
  }
  bool abandon(std::uint64_t user, std::uint64_t request, Time now) {
    const auto erased =
        std::erase_if(waits, [&](const Wait& wait) { return wait.user == user && wait.request == request; });
    if (erased > 0) settle(now);
    return erased > 0;
  }
  void end(std::uint64_t user, Time now) {
    std::erase_if(waits, [&](const Wait& wait) { return wait.user == user; });
    while (Message* message = firstOf(user, Place::leased)) comeBack(*message, true, Time{0}, now);
    while (Message* message = firstOf(user, Place::delivered)) {
      (undone > 0 ? --undone : ++unfinished);
      comeBack(*message, true, Time{0}, now);
    }
    settle(now);
  }
  void purge(Time now) {
    const auto gone = std::erase_if(messages, [](const Message& message) {
      return message.place == Place::ready || message.place == Place::delayed;
    });
    finished(gone);
    settle(now);
  }
  void resume(Time now) {
    paused = false;
    settle(now);
  }
  void close(Time now) {
    closed = true;
    while (Wait* wait = first(isPut)) conclude(*wait, QueueOutcome::closed, {});
    settle(now);
  }
  void pass(Time now) {
    for (Message& message : messages) {
      if (message.place == Place::delayed && message.due <= now) message.place = Place::ready;
    }
    while (true) {
      std::vector<Message*> over;
      for (Message& message : messages) {
        if (message.place == Place::leased && message.due <= now) over.push_back(&message);
      }
      if (over.empty()) break;
      comeBack(**std::min_element(
                   over.begin(), over.end(),
                   [](auto* a, auto* b) { return std::pair(a->due, a->turn) < std::pair(b->due, b->turn); }),
               true, Time{0}, now);
    }
    settle(now);
    while (true) {
      std::vector<Wait*> over;
      for (Wait& wait : waits) {
        if (wait.deadline <= now) over.push_back(&wait);
      }
      if (over.empty()) break;
      conclude(**std::min_element(over.begin(), over.end(),
                                  [](auto* a, auto* b) {
                                    return std::pair(a->deadline, a->number) <
                                           std::pair(b->deadline, b->number);
                                  }),
               QueueOutcome::timedOut, {});
    }
    settle(now);
  }

  std::vector<std::string> ready() const {
    std::vector<const Message*> all;
    for (const Message& message : messages) {
      if (message.place == Place::ready) all.push_back(&message);
    }
    std::sort(all.begin(), all.end(), before);
    std::vector<std::string> texts;
    for (const Message* message : all) texts.push_back(message->text);
    return texts;
  }
  std::size_t count(Place place) const {
    return static_cast<std::size_t>(std::count_if(
        messages.begin(), messages.end(), [&](const Message& message) { return message.place == place; }));
  }
  std::size_t handedOut() const { return count(Place::leased) + count(Place::delivered); }
  Message* leased(const std::string& text) {
    const auto found = std::find_if(messages.begin(), messages.end(), [&](const Message& message) {
      return message.text == text && message.place == Place::leased;
    });
    return found == messages.end() ? nullptr : &*found;
  }

  std::vector<Message> messages;
  std::vector<Wait> waits;
  std::vector<Answer> answers;
  std::vector<std::string> dead;
  std::vector<std::string> dropped;
  std::uint64_t unfinished = 0;
  std::uint64_t undone = 0;
  bool paused = false;
  bool closed = false;

 private:
  static bool isPut(const Wait& wait) { return wait.kind == QueueWaiter::Kind::put; }
  static bool isGet(const Wait& wait) { return wait.kind == QueueWaiter::Kind::get; }
  static bool isJoin(const Wait& wait) { return wait.kind == QueueWaiter::Kind::join; }
  static bool before(const Message* a, const Message* b) {
    return std::pair(-a->priority, a->id) < std::pair(-b->priority, b->id);
  }
  Wait* first(bool (*is)(const Wait&)) {
    const auto found = std::find_if(waits.begin(), waits.end(), is);
    return found == waits.end() ? nullptr : &*found;
  }
  Message* next() {
    Message* best = nullptr;
    for (Message& message : messages) {
      if (message.place == Place::ready && (best == nullptr || before(&message, best))) best = &message;
    }
    return best;
  }
  Message* firstOf(std::uint64_t user, Place place) {
    Message* best = nullptr;
    for (Message& message : messages) {
      if (message.place != place || message.holder != user) continue;
      if (best == nullptr || message.turn < best->turn) best = &message;
    }
    return best;
  }
  void finished(std::uint64_t count) { unfinished -= std::min(count, unfinished); }

  bool fits(const New& message) const {
    std::uint64_t bytes = message.text.size();
    std::uint64_t waiting = 1;
    for (const Message& held : messages) {
      if (held.place != Place::ready && held.place != Place::delayed) continue;
      bytes += held.text.size();
      ++waiting;
    }
    return bytes <= options_.maxBytes && waiting <= options_.maxMessages;
  }
  void dropOne() {
    Message* victim = nullptr;
    for (Message& message : messages) {
      if (message.place != Place::ready) continue;
      if (victim == nullptr ||
          std::pair(message.priority, message.id) < std::pair(victim->priority, victim->id)) {
        victim = &message;
      }
    }
    for (Message& message : messages) {
      if (message.place != Place::delayed) continue;
      if (victim != nullptr && victim->place == Place::ready) break;
      if (victim == nullptr || std::pair(message.due, message.id) < std::pair(victim->due, victim->id)) {
        victim = &message;
      }
    }
    dropped.push_back(victim->text);
    messages.erase(messages.begin() + (victim - messages.data()));
    finished(1);
  }
  void takeIn(std::vector<New>& outside, std::uint32_t& accepted, Time now) {
    while (!outside.empty()) {
      const New message = outside.front();
      if (!fits(message)) serveGets(now);
      if (options_.whenFull == FullPolicy::dropOldest) {
        while (!fits(message)) dropOne();
      }
      if (!fits(message)) return;
      messages.push_back({message.text, ++ids_, message.priority,
                          message.due > now ? Place::delayed : Place::ready, 0, message.due, 0, 0});
      ++unfinished;
      ++accepted;
      outside.erase(outside.begin());
    }
  }
  void handOut(std::uint64_t user, const GetOptions& options, Answer& answer, Time now) {
    for (std::uint32_t i = 0; i < options.max; ++i) {
      Message* message = next();
      if (message == nullptr) return;
      message->place = options.lease ? Place::leased : Place::delivered;
      message->holder = options.lease && options.detached ? 0 : user;
      message->due = now + (options.leaseTime == Time{0} ? options_.lease : options.leaseTime);
      message->turn = ++turns_;
      ++message->attempt;
      if (!options.lease) ++undone;
      answer.messages.emplace_back(message->text, message->attempt);
    }
  }
  void comeBack(Message& message, bool counts, Time delay, Time now) {
    if (!counts) {
      --message.attempt;
    } else if (options_.maxAttempts != 0 && message.attempt >= options_.maxAttempts) {
      dead.push_back(message.text);
      messages.erase(messages.begin() + (&message - messages.data()));
      finished(1);
      return;
    }
    message.place = delay > Time{0} ? Place::delayed : Place::ready;
    message.due = now + delay;
  }
  void conclude(Wait& wait, QueueOutcome outcome, std::vector<std::pair<std::string, std::uint32_t>> got) {
    answers.push_back({wait.kind, wait.user, wait.request, outcome, wait.accepted, std::move(got)});
    waits.erase(waits.begin() + (&wait - waits.data()));
  }
  bool exhausted() const { return closed && messages.empty(); }
  bool serveGets(Time now) {
    bool any = false;
    while (Wait* wait = first(isGet)) {
      if (paused || next() == nullptr) break;
      Answer answer;
      handOut(wait->user, wait->get, answer, now);
      conclude(*wait, QueueOutcome::done, std::move(answer.messages));
      any = true;
    }
    return any;
  }
  void settle(Time now) {
    for (bool more = true; more;) {
      more = serveGets(now);
      while (Wait* wait = first(isPut)) {
        const std::uint32_t before = wait->accepted;
        std::uint32_t accepted = before;
        std::vector<New> outside = wait->outside;
        const std::uint64_t number = wait->number;
        takeIn(outside, accepted, now);
        wait = &*std::find_if(waits.begin(), waits.end(), [&](const Wait& w) { return w.number == number; });
        wait->outside = outside;
        wait->accepted = accepted;
        more = more || accepted > before;
        if (!outside.empty()) break;
        conclude(*wait, QueueOutcome::done, {});
      }
    }
    while (Wait* wait = exhausted() ? first(isGet) : nullptr) conclude(*wait, QueueOutcome::closed, {});
    while (Wait* wait = unfinished == 0 ? first(isJoin) : nullptr) conclude(*wait, QueueOutcome::done, {});
  }

  QueueOptions options_;
  std::uint64_t ids_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t numbers_ = 0;
};

}  // namespace baton::daemon::sim
