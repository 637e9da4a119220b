#include "daemon/scheduler.h"

#include <algorithm>
#include <cassert>

namespace baton::daemon {
namespace {

constexpr int kMaxPriority = 1000;  // as ipc/baton.capnp has it
constexpr Time kPriorityStep = std::chrono::seconds(60);
// With a quantum of 0 slots that become free together are still dealt out in turn.
constexpr Time kLeastLookahead = std::chrono::milliseconds(1);

std::int64_t orderOf(const QueuedTask& task) {
  return (task.submitted - std::clamp(task.priority, -kMaxPriority, kMaxPriority) * kPriorityStep).count();
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), slots_(std::max(options.slots, 1u)), table_(options.quantum) {
  table_.resize(slots_);
}

void Scheduler::setWeight(Uid uid, unsigned weight) {
  accountOf(uid).share.setWeight(weight, now_);
}

void Scheduler::setSlots(unsigned slots, Time now) {
  tell(now);
  slots_ = std::max(slots, 1u);
  table_.resize(slots_);
}

void Scheduler::add(const QueuedTask& task, Time now) {
  tell(now);
  assert(!started_.contains(task.id));
  const std::size_t before = queued_.size();
  QueueEntry& entry = queued_.try_emplace(queued_.end(), task.id)->second;  // ids mostly count up
  if (queued_.size() == before) return;
  entry.id = task.id;
  entry.uid = task.uid;
  entry.orderNs = orderOf(task);
  entry.lane = task.lane;
  entry.slots = task.lane == Lane::cpu ? std::max(task.slots, 1u) : 0;

  Account& account = accountOf(task.uid);
  if (task.lane == Lane::io) {
    account.io.insert(entry);
    setIoReady(account);
    return;
  }
  if (account.cpu.empty()) {
    account.share.liftTo(virtualTime(), now_);
    account.ticket = ++tickets_;
    waiting_.push_back(&account);
  }
  account.cpu.insert(entry);
}

bool Scheduler::remove(TaskId task, Time now) {
  tell(now);
  const auto found = queued_.find(task);
  if (found == queued_.end()) return false;
  dequeue(found->second);
  return true;
}

void Scheduler::end(TaskId task, Time now) {
  tell(now);
  const auto found = started_.find(task);
  assert(found != started_.end());
  if (found == started_.end()) return;
  Started& started = found->second;
  if (started.state == State::running) {
    leaveSlots(task, started, WorkerFate::stays);
  } else {
    leaveReturning(started);
    --started.account->parked;
    --parked_;
  }
  started_.erase(found);
}

bool Scheduler::park(TaskId task, Time now) {
  tell(now);
  const auto found = started_.find(task);
  assert(found != started_.end());
  if (found == started_.end()) return false;
  Started& started = found->second;
  if (started.state == State::running) {
    if (started.account->parked >= options_.parkedPerUid) return false;
    leaveSlots(task, started, WorkerFate::leaves);
    ++started.account->parked;
    ++parked_;
  } else {
    leaveReturning(started);
  }
  started.state = State::parked;
  return true;
}

void Scheduler::unpark(TaskId task, Time now) {
  tell(now);
  const auto found = started_.find(task);
  if (found == started_.end() || found->second.state != State::parked) return;
  Started& started = found->second;
  started.state = State::returning;
  started.ticket = ++tickets_;
  if (started.lane == Lane::cpu) {
    returning_.emplace(started.ticket, task);
  } else {
    started.account->ioReturning.emplace(started.ticket, task);
    setIoReady(*started.account);
  }
}

void Scheduler::forceRun(TaskId task, Time now) {
  tell(now);
  const auto found = started_.find(task);
  if (found == started_.end() || found->second.state == State::running) return;
  Started& started = found->second;
  Account& account = *started.account;
  leaveReturning(started);
  --account.parked;
  --parked_;
  started.state = State::running;
  if (started.lane == Lane::io) {
    ++account.ioRunning;
    setIoReady(account);
    return;
  }
  started.held = need(started.slots);
  if (started.held <= unused()) started.slot = table_.takeBack(started.held, task, account.uid, now_);
  charge(account, started.held);
}

std::optional<Start> Scheduler::next(Time now) {
  tell(now);
  if (!ioReady_.empty()) return nextIo();
  if (unused() == 0) return std::nullopt;
  return returning_.empty() ? nextQueued() : nextReturning();
}

std::optional<Start> Scheduler::nextIo() {
  Account& account = *ioReady_.front();
  if (account.ioReturning.empty()) return startQueued(account, 0, kNoSlot);
  const TaskId task = account.ioReturning.begin()->second;
  forceRun(task, now_);
  return Start{task, kNoSlot, 0, true};
}

std::optional<Start> Scheduler::nextReturning() {
  const TaskId task = returning_.begin()->second;
  const Started& started = started_.at(task);
  if (need(started.slots) > unused()) return std::nullopt;
  forceRun(task, now_);
  return Start{task, started.slot, started.held, true};
}

std::optional<Start> Scheduler::nextQueued() {
  Account* account = keptAccount();
  if (account == nullptr) account = fairNext();
  if (account == nullptr) return std::nullopt;
  const QueueEntry& first = *account->cpu.first();
  const unsigned slots = need(first.slots);
  if (slots > unused()) {
    kept_ = first.id;
    return std::nullopt;
  }
  if (slots > 1) return startQueued(*account, slots, table_.takeSome(slots, first.id, account->uid, now_));

  const auto wants = [this](Uid uid) {
    const Account* other = findAccount(uid);
    return other != nullptr && !other->cpu.empty() && need(other->cpu.first()->slots) == 1;
  };
  auto slot = table_.choose(account->uid, now_, wants);
  if (!slot) {  // every free slot is within the turn of somebody who wants it
    slot = table_.leastRecentlyUsed();
    account = &accountOf(table_.ownerOf(*slot));
  }
  table_.take(*slot, account->cpu.first()->id, account->uid, now_);
  return startQueued(*account, 1, *slot);
}

// The first task of `account` starts; in the CPU lane (slots > 0) it has its slots already.
Start Scheduler::startQueued(Account& account, unsigned slots, unsigned slot) {
  const Lane lane = slots == 0 ? Lane::io : Lane::cpu;
  QueueEntry& entry = *(lane == Lane::io ? account.io : account.cpu).first();
  const TaskId task = entry.id;
  started_.insert_or_assign(task, Started{&account, lane, entry.slots, State::running, slots, slot, 0});
  if (lane == Lane::io) {
    ++account.ioRunning;
  } else {
    charge(account, slots);
    kept_.reset();
  }
  dequeue(entry);
  return Start{task, slot, slots, false};
}

void Scheduler::dequeue(QueueEntry& entry) {
  Account& account = accountOf(entry.uid);
  if (entry.lane == Lane::io) {
    account.io.erase(entry);
    setIoReady(account);
  } else {
    account.cpu.erase(entry);
    if (account.cpu.empty()) std::erase(waiting_, &account);
  }
  if (kept_ == entry.id) kept_.reset();
  queued_.erase(entry.id);
}

// Where a uid joins that begins to queue (rule 4).
double Scheduler::virtualTime() {
  double joint = highest_;
  if (waiting_.empty()) {
    for (const Account* account : computing_) joint = std::max(joint, account->share.at(now_));
  } else {
    joint = waiting_.front()->share.at(now_);
    for (const Account* account : waiting_) joint = std::min(joint, account->share.at(now_));
  }
  return virtualTime_ = std::max(virtualTime_, joint);
}

// Whether its first task would fit if all tasks of other uids ended (rule 5).
bool Scheduler::couldFit(const Account& account) const {
  const unsigned slots = need(account.cpu.first()->slots);
  return slots <= unused() || slots + account.share.running() <= slots_;
}

Scheduler::Account* Scheduler::fairNext() const {
  const Time lookahead = std::max(options_.quantum, kLeastLookahead);
  Account* best = nullptr;
  double least = 0;
  for (Account* account : waiting_) {
    if (!couldFit(*account)) continue;
    const double tag = account->share.tag(now_, lookahead);
    if (best != nullptr && (tag > least || (tag == least && account->ticket > best->ticket))) continue;
    best = account;
    least = tag;
  }
  return best;
}

// Whose task has free slots kept for it, as long as it is the first of its uid and could fit.
Scheduler::Account* Scheduler::keptAccount() {
  if (!kept_) return nullptr;
  Account& account = accountOf(queued_.at(*kept_).uid);
  if (account.cpu.first()->id == *kept_ && couldFit(account)) return &account;
  kept_.reset();
  return nullptr;
}

void Scheduler::setIoReady(Account& account) {
  const bool ready =
      account.ioRunning < options_.ioPerUid && !(account.ioReturning.empty() && account.io.empty());
  const auto at = std::find(ioReady_.begin(), ioReady_.end(), &account);
  if (ready && at == ioReady_.end()) ioReady_.push_back(&account);
  if (!ready && at != ioReady_.end()) ioReady_.erase(at);
}

void Scheduler::charge(Account& account, unsigned slots) {
  used_ += slots;
  if (account.cpu.empty()) account.share.liftTo(virtualTime(), now_);  // it comes back without having queued
  if (account.share.running() == 0) computing_.push_back(&account);
  account.share.begin(slots, now_);
}

void Scheduler::uncharge(Account& account, unsigned slots) {
  used_ -= slots;
  account.share.end(slots, now_);
  if (account.share.running() > 0) return;
  highest_ = std::max(highest_, account.share.at(now_));
  std::erase(computing_, &account);
}

// A running task stops using what it has.
void Scheduler::leaveSlots(TaskId task, Started& started, WorkerFate worker) {
  Account& account = *started.account;
  if (started.lane == Lane::io) {
    --account.ioRunning;
    setIoReady(account);
    return;
  }
  if (started.slot != kNoSlot) table_.release(task, started.slot, started.held, worker, now_);
  started.slot = kNoSlot;
  uncharge(account, started.held);
}

// No-op for a task that is parked only.
void Scheduler::leaveReturning(Started& started) {
  if (started.state != State::returning) return;
  if (started.lane == Lane::cpu) {
    returning_.erase(started.ticket);
  } else {
    started.account->ioReturning.erase(started.ticket);
    setIoReady(*started.account);
  }
}

void Scheduler::tell(Time now) {
  assert(now >= now_);
  now_ = std::max(now_, now);
}

Scheduler::Account& Scheduler::accountOf(Uid uid) {
  const auto [at, isNew] = accounts_.try_emplace(uid);
  if (isNew) at->second.uid = uid;
  return at->second;
}

const Scheduler::Account* Scheduler::findAccount(Uid uid) const {
  const auto found = accounts_.find(uid);
  return found == accounts_.end() ? nullptr : &found->second;
}

std::optional<TaskId> Scheduler::keptFor() const {
  if (unused() == 0) return std::nullopt;
  return returning_.empty() ? kept_ : returning_.begin()->second;
}

std::size_t Scheduler::ahead(TaskId task) const {
  const auto found = queued_.find(task);
  if (found == queued_.end()) return 0;
  const Account& account = accounts_.at(found->second.uid);
  return (found->second.lane == Lane::io ? account.io : account.cpu).ahead(found->second);
}

std::size_t Scheduler::queued(Uid uid) const {
  const Account* account = findAccount(uid);
  return account == nullptr ? 0 : account->cpu.size() + account->io.size();
}

unsigned Scheduler::parked(Uid uid) const {
  const Account* account = findAccount(uid);
  return account == nullptr ? 0 : account->parked;
}

unsigned Scheduler::ioRunning(Uid uid) const {
  const Account* account = findAccount(uid);
  return account == nullptr ? 0 : account->ioRunning;
}

}  // namespace baton::daemon
