// The Subscriptions' part about `wait`. A wait may be for ten thousand tasks, or for all: it is put together,
// answered and forgotten in slices.
#include <algorithm>

#include "daemon/rows.h"
#include "daemon/subscriptions.h"

namespace baton::daemon {
namespace {

// A reply is one frame: what does not fit is not listed, the highest exit code always is.
constexpr std::size_t kMaxRows = 1000;
// Look-ups of some tenths of a microsecond each.
constexpr std::size_t kLookupsPerStep = 64;
// What a waiter and each of its ids take in memory.
constexpr std::size_t kWaiterBytes = 512;
constexpr std::size_t kBytesOfEach = 96;

}  // namespace

struct Subscriptions::Conclusion {
  struct Row {
    std::uint64_t number = 0;
    std::uint32_t index = 0;
    int code = 0;
  };
  Waiter waiter;
  bool timedOut = false;
  std::size_t looked = 0;  // of waiter.all
  std::vector<Row> rows;

  void add(const Row& row) {
    rows.push_back(row);
    if (rows.size() >= 2 * kMaxRows) truncate();
  }
  void truncate() {
    if (rows.size() <= kMaxRows) return;
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.code > b.code; });
    rows.resize(kMaxRows);
  }
};

Subscriptions::WaiterId Subscriptions::beginWait(Session& session, RequestId request, bool any) {
  Waiter& waiter = waiters_[++lastWaiter_];
  waiter.id = lastWaiter_;
  waiter.session = session.id;
  waiter.request = request;
  waiter.any = any;
  waiter.charge = ipc::Charge(session.waits);
  return lastWaiter_;
}

// A waiter is kept until what it waits for has ended.
void Subscriptions::chargeFor(Waiter& waiter, std::size_t ids) {
  if (!waiter.charge.tryRaise(kWaiterBytes + kBytesOfEach * ids)) {
    throw Error(Code::quota, "too much is waited for at once (config in_flight_bytes)");
  }
}

void Subscriptions::alsoFor(WaiterId id, const Registry::Entry& entry, std::uint32_t index) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end() || !found->second.seen.emplace(entry.id, index).second) return;
  Waiter& waiter = found->second;
  chargeFor(waiter, waiter.all.size() + 1);
  waiter.all.emplace_back(entry.id, index);
  if (entry.batch && index == 0) {
    if (entry.batch->ended()) return;
    waiter.batches.push_back(entry.id);
    waitersOfBatch_.emplace(entry.id, id);
  } else {
    const Task* task = entry.batch ? entry.batch->tasks.at(index) : entry.task;
    if (task == nullptr || isEnd(task->state)) return;
    waiter.tasks.push_back(task->key);
    waitersOfTask_.emplace(task->key, id);
  }
  ++waiter.left;
}

void Subscriptions::wait(WaiterId id, std::chrono::nanoseconds timeout, Loop& loop) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  Waiter& waiter = found->second;
  waiter.complete = true;
  waiter.seen.clear();
  const bool already = waiter.left == 0 || (waiter.any && waiter.left < waiter.all.size());
  if (already) {
    conclude(id, false);
  } else if (timeout.count() == 0) {
    conclude(id, true);
  } else if (timeout.count() > 0) {
    waiter.timer = loop.onTimer([this, id] { conclude(id, true); });
    waiter.timer.arm(timeout);
  }
}

void Subscriptions::ended(WaitIndex& index, std::uint64_t key) {
  const auto [begin, end] = index.equal_range(key);
  if (begin == end) return;
  std::vector<WaiterId> done;
  for (auto at = begin; at != end; ++at) {
    const auto waiter = waiters_.find(at->second);
    if (waiter == waiters_.end()) continue;
    --waiter->second.left;
    if (waiter->second.complete && (waiter->second.left == 0 || waiter->second.any))
      done.push_back(at->second);
  }
  index.erase(begin, end);
  for (const WaiterId waiter : done) conclude(waiter, false);
}

void Subscriptions::giveUp(WaiterId id) {
  auto found = waiters_.extract(id);
  if (!found) return;
  const auto waiter = std::make_shared<Waiter>(std::move(found.mapped()));
  waiter->timer.reset();
  chores_.begin([this, waiter] { return unindexSome(*waiter); });
}

void Subscriptions::conclude(WaiterId id, bool timedOut) {
  auto found = waiters_.extract(id);
  if (!found) return;
  const auto conclusion = std::make_shared<Conclusion>();
  conclusion->waiter = std::move(found.mapped());
  conclusion->waiter.timer.reset();
  conclusion->timedOut = timedOut;
  chores_.begin([this, conclusion] { return concludeSome(*conclusion); });
}

bool Subscriptions::unindexSome(Waiter& waiter) {
  const auto remove = [&waiter](WaitIndex& index, std::vector<std::uint64_t>& keys) {
    for (std::size_t i = 0; i < kLookupsPerStep && !keys.empty(); ++i) {
      const auto [begin, end] = index.equal_range(keys.back());
      const auto found =
          std::find_if(begin, end, [&](const auto& entry) { return entry.second == waiter.id; });
      if (found != end) index.erase(found);
      keys.pop_back();
    }
  };
  remove(waitersOfTask_, waiter.tasks);
  remove(waitersOfBatch_, waiter.batches);
  return !waiter.tasks.empty() || !waiter.batches.empty();
}

bool Subscriptions::concludeSome(Conclusion& conclusion) {
  Waiter& waiter = conclusion.waiter;
  Session* session = server_->find(waiter.session);
  if (session != nullptr && !conclusion.timedOut && conclusion.looked < waiter.all.size()) {
    const std::size_t end = std::min(conclusion.looked + kLookupsPerStep, waiter.all.size());
    for (; conclusion.looked < end; ++conclusion.looked) {
      const auto [number, index] = waiter.all[conclusion.looked];
      const Registry::Entry* entry = registry_.entry(number, session->uid);
      if (entry == nullptr) continue;
      if (entry->batch && index == 0) {
        if (entry->batch->ended()) conclusion.add({number, 0, entry->batch->highestCode});
        continue;
      }
      const Task* task = entry->batch ? entry->batch->tasks.at(index) : entry->task;
      if (task == nullptr || !task->outcome || !isEnd(task->state)) continue;
      conclusion.add({number, index, exitCodeOf(*task->outcome)});
    }
    return true;
  }
  if (unindexSome(waiter)) return true;
  if (session == nullptr) return false;
  auto message = std::make_unique<ipc::Message>();
  if (conclusion.timedOut) {
    writeError(Error(Code::timedOut, "what was waited for has not ended in time"), waiter.request, *message);
  } else {
    conclusion.truncate();
    writeConclusion(conclusion, session->uid, *message);
  }
  finish(*session, waiter.request, std::move(message));
  return false;
}

void Subscriptions::writeConclusion(const Conclusion& conclusion, Uid uid, ipc::Message& message) const {
  const auto& rows = conclusion.rows;
  auto listing = message.frame().initListing().initRows(static_cast<unsigned>(rows.size()));
  for (unsigned i = 0; i < listing.size(); ++i) {
    const auto& [number, index, code] = rows[i];
    const Registry::Entry* entry = registry_.entry(number, uid);
    if (entry == nullptr) continue;  // dropped since it was looked at
    if (entry->batch && index == 0) {
      writeRow(*entry->batch, listing[i].initBatch());
    } else if (const Task* task = entry->batch ? entry->batch->tasks.at(index) : entry->task) {
      writeRow(*task, Detail::result, listing[i].initTask());
    }
  }
}

}  // namespace baton::daemon
