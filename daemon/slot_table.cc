#include "daemon/slot_table.h"

#include <algorithm>

namespace baton::daemon {

void SlotTable::resize(unsigned count) {
  count_ = count;
  if (slots_.size() < count) slots_.resize(count);
  for (unsigned i = count; i < slots_.size(); ++i) {
    if (!slots_[i].busy) slots_[i].hasWorker = false;
  }
}

// Own worker (the one used last), no worker, somebody else's (the one used first).
bool SlotTable::fitsFresh(const Slot& a, const Slot& b, Uid uid) {
  const auto rank = [uid](const Slot& slot) { return !slot.hasWorker ? 1 : slot.uid == uid ? 0 : 2; };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  if (rank(a) == 0) return a.usedAt > b.usedAt;
  return rank(a) == 2 && a.usedAt < b.usedAt;
}

bool SlotTable::fitsReturning(const Slot& a, const Slot& b, Uid) {
  if (a.hasWorker != b.hasWorker) return !a.hasWorker;
  return a.hasWorker && a.usedAt < b.usedAt;
}

std::optional<unsigned> SlotTable::choose(Uid uid, Time now, const std::function<bool(Uid)>& wants) const {
  std::optional<unsigned> best;
  for (unsigned i = 0; i < count_; ++i) {
    const Slot& slot = slots_[i];
    if (slot.busy || (best && !fitsFresh(slot, slots_[*best], uid))) continue;
    const bool othersTurn = slot.hasWorker && slot.uid != uid && !turnOver(slot, now) && wants(slot.uid);
    if (!othersTurn) best = i;
  }
  return best;
}

unsigned SlotTable::leastRecentlyUsed() const {
  const auto free = freeSlots();
  return *std::min_element(free.begin(), free.end(),
                           [this](unsigned a, unsigned b) { return slots_[a].usedAt < slots_[b].usedAt; });
}

void SlotTable::take(unsigned index, TaskId task, Uid uid, Time now) {
  Slot& slot = slots_[index];
  if (!slot.hasWorker || slot.uid != uid || turnOver(slot, now)) slot.turnBegan = now;
  slot.busy = true;
  slot.hasWorker = true;
  slot.uid = uid;
  slot.task = task;
}

unsigned SlotTable::takeSome(unsigned count, TaskId task, Uid uid, Time now) {
  return takeBest(&SlotTable::fitsFresh, count, task, uid, now);
}

unsigned SlotTable::takeBack(unsigned count, TaskId task, Uid uid, Time now) {
  return takeBest(&SlotTable::fitsReturning, count, task, uid, now);
}

unsigned SlotTable::takeBest(Preference better, unsigned count, TaskId task, Uid uid, Time now) {
  auto free = freeSlots();
  std::stable_sort(free.begin(), free.end(),
                   [&](unsigned a, unsigned b) { return better(slots_[a], slots_[b], uid); });
  free.resize(count);
  const unsigned lowest = *std::min_element(free.begin(), free.end());
  for (const unsigned i : free) {
    take(i, task, uid, now);
    if (i != lowest) slots_[i].hasWorker = false;  // one worker fills them all, and sits in the lowest
  }
  return lowest;
}

void SlotTable::release(TaskId task, unsigned lowest, unsigned count, WorkerFate worker, Time now) {
  for (unsigned i = lowest; count > 0; ++i) {
    Slot& slot = slots_[i];
    if (!slot.busy || slot.task != task) continue;
    slot.busy = false;
    slot.usedAt = now;
    if (worker == WorkerFate::leaves || i >= count_) slot.hasWorker = false;
    --count;
  }
}

std::vector<unsigned> SlotTable::slotsOf(TaskId task) const {
  std::vector<unsigned> found;
  for (unsigned i = 0; i < slots_.size(); ++i) {
    if (slots_[i].busy && slots_[i].task == task) found.push_back(i);
  }
  return found;
}

std::vector<unsigned> SlotTable::freeSlots() const {
  std::vector<unsigned> free;
  for (unsigned i = 0; i < count_; ++i) {
    if (!slots_[i].busy) free.push_back(i);
  }
  return free;
}

}  // namespace baton::daemon
