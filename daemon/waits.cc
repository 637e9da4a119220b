// The Subscriptions' part about `wait`.
#include <algorithm>

#include "daemon/rows.h"
#include "daemon/subscriptions.h"

namespace baton::daemon {
namespace {

// A reply is one frame: what does not fit is not listed, the highest exit code always is.
constexpr std::size_t kMaxRows = 1000;

struct Ended {
  const Task* task = nullptr;
  const Batch* batch = nullptr;
  int code = 0;
};

}  // namespace

void Subscriptions::wait(Session& session, RequestId request, Wait wait, Loop& loop) {
  waiters_.emplace_front();
  const auto waiter = waiters_.begin();
  waiter->session = session.id;
  waiter->request = request;
  waiter->wait = std::move(wait);
  for (const TaskId key : waiter->wait.tasks) waitersOfTask_.emplace(key, waiter);
  for (const std::uint64_t number : waiter->wait.batches) waitersOfBatch_.emplace(number, waiter);
  waiter->left = waiter->wait.tasks.size() + waiter->wait.batches.size();
  const bool already = waiter->left == 0 || (waiter->wait.any && waiter->left < waiter->wait.all.size());
  if (already) {
    conclude(waiter, false);
  } else if (waiter->wait.timeout.count() == 0) {
    conclude(waiter, true);
  } else if (waiter->wait.timeout.count() > 0) {
    waiter->timer = loop.onTimer([this, waiter] { conclude(waiter, true); });
    waiter->timer.arm(waiter->wait.timeout);
  }
}

void Subscriptions::ended(std::unordered_multimap<std::uint64_t, Waiters::iterator>& index,
                          std::uint64_t key) {
  const auto [begin, end] = index.equal_range(key);
  if (begin == end) return;
  std::vector<Waiters::iterator> done;
  for (auto at = begin; at != end; ++at) {
    if (--at->second->left == 0 || at->second->wait.any) done.push_back(at->second);
  }
  index.erase(begin, end);
  for (const auto waiter : done) conclude(waiter, false);
}

void Subscriptions::forget(Waiters::iterator waiter) {
  const auto remove = [waiter](auto& index, std::uint64_t key) {
    const auto [begin, end] = index.equal_range(key);
    for (auto at = begin; at != end; ++at) {
      if (at->second == waiter) {
        index.erase(at);
        return;
      }
    }
  };
  for (const TaskId key : waiter->wait.tasks) remove(waitersOfTask_, key);
  for (const std::uint64_t number : waiter->wait.batches) remove(waitersOfBatch_, number);
  waiters_.erase(waiter);
}

void Subscriptions::conclude(Waiters::iterator waiter, bool timedOut) {
  Session* session = server_->find(waiter->session);
  if (session == nullptr) {
    forget(waiter);
    return;
  }
  auto message = std::make_unique<ipc::Message>();
  if (timedOut) {
    writeError(Error(Code::timedOut, "what was waited for has not ended in time"), waiter->request, *message);
  } else {
    std::vector<Ended> rows;
    for (const auto& [number, index] : waiter->wait.all) {
      Registry::Entry* entry = registry_.entry(number, session->uid);
      if (entry == nullptr) continue;
      if (entry->batch && index == 0) {
        if (!entry->batch->ended()) continue;
        rows.push_back({nullptr, entry->batch.get(), entry->batch->highestCode});
        continue;
      }
      const Task* task = entry->batch ? entry->batch->tasks.at(index) : entry->task;
      if (task != nullptr && task->outcome && isEnd(task->state)) {
        rows.push_back({task, nullptr, exitCodeOf(*task->outcome)});
      }
    }
    if (rows.size() > kMaxRows) {
      std::stable_sort(rows.begin(), rows.end(),
                       [](const Ended& a, const Ended& b) { return a.code > b.code; });
      rows.resize(kMaxRows);
    }
    auto listing = message->frame().initListing().initRows(static_cast<unsigned>(rows.size()));
    for (unsigned i = 0; i < listing.size(); ++i) {
      if (rows[i].task != nullptr) {
        writeRow(*rows[i].task, Detail::result, listing[i].initTask());
      } else {
        writeRow(*rows[i].batch, listing[i].initBatch());
      }
    }
  }
  const RequestId request = waiter->request;
  forget(waiter);
  finish(*session, request, std::move(message));
}

}  // namespace baton::daemon
