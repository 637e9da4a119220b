#include "daemon/sweep.h"

#include <algorithm>
#include <string>

#include "ipc/error.h"

namespace baton::daemon {
namespace {

constexpr unsigned kMaxRefs = 10'000;
// A look-up takes up to half a microsecond, what is done to a task up to four.
constexpr std::size_t kChecksPerStep = 64;
constexpr int kTasksPerStep = 16;

std::string nameOf(std::uint64_t number, std::uint32_t index) {
  return std::to_string(number) + (index != 0 ? "." + std::to_string(index) : "");
}

}  // namespace

Sweep::Sweep(Registry& registry) : registry_(registry), newest_(registry.newest()) {}

Sweep::Sweep(Registry& registry, Uid uid, std::uint64_t batch)
    : registry_(registry), uid_(uid), everything_(false), refs_{{batch, 0}}, checked_(1) {}

Sweep::Sweep(Registry& registry, Uid uid, ipc::wire::Selection::Reader selection, Kind kind)
    : registry_(registry),
      uid_(uid),
      kind_(selection.getAll() ? Kind::unfinished : kind),
      everything_(selection.getAll()),
      newest_(registry.newest()) {
  if (everything_) return;
  const auto refs = selection.getRefs();
  if (refs.size() > kMaxRefs) throw Error(Code::tooLarge, "at most 10,000 ids at once");
  refs_.reserve(refs.size());
  for (const auto ref : refs) refs_.push_back({ref.getId(), ref.getIndex()});
}

void Sweep::check(const Ref& ref) const {
  const Registry::Entry* entry = registry_.entry(ref.number, *uid_);
  const auto name = [&] { return nameOf(ref.number, ref.index); };
  if (entry == nullptr) throw Error(Code::unknownId, "no task or batch " + name());
  if (ref.index == 0) return;
  if (!entry->batch || ref.index > entry->batch->tasks.added()) {
    throw Error(Code::unknownId, "no task " + name());
  }
  if (entry->batch->tasks.at(ref.index) == nullptr) {
    throw Error(Code::unknownId, "the record of task " + name() + " is not kept any more");
  }
}

// False: all are checked.
bool Sweep::checkSome() {
  if (checked_ == refs_.size()) return false;
  const std::size_t end = std::min(refs_.size(), checked_ + kChecksPerStep);
  for (; checked_ < end; ++checked_) check(refs_[checked_]);
  return true;
}

bool Sweep::stepEntries(const std::function<void(const Registry::Entry&, std::uint32_t)>& visit) {
  if (checkSome()) return true;
  for (int i = 0; i < kTasksPerStep; ++i) {
    if (!nextEntry()) return false;
    const Registry::Entry* entry = registry_.entry(number_);
    if (entry != nullptr && mine(*entry)) visit(*entry, index_);
  }
  return true;
}

bool Sweep::step(const std::function<void(Task&)>& visit) {
  if (checkSome()) return true;
  for (int i = 0; i < kTasksPerStep; ++i) {
    Task* task = nextTask();
    if (done_) return false;
    if (task != nullptr && (kind_ == Kind::every || !isEnd(task->state))) visit(*task);
  }
  return true;
}

void Sweep::rewind() {
  taken_ = at_ = end_ = 0;
  number_ = 0;
  done_ = false;
}

// nullptr: none yet, or it is gone; or done_.
Task* Sweep::nextTask() {
  if (at_ == end_) {
    done_ = !nextEntry();
    return nullptr;
  }
  const Registry::Entry* entry = registry_.entry(number_);
  if (entry == nullptr) {
    at_ = end_;
    return nullptr;
  }
  if (!entry->batch) {
    at_ = end_;
    return entry->task;
  }
  at_ = std::min(std::max<std::size_t>(at_, entry->batch->tasks.dropped()), end_ - 1);
  return entry->batch->tasks.at(++at_);
}

bool Sweep::nextEntry() {
  return everything_ ? nextOfAll() : nextNamed();
}

bool Sweep::nextNamed() {
  if (taken_ == refs_.size()) return false;
  const Ref& ref = refs_[taken_++];
  const Registry::Entry* entry = registry_.entry(ref.number, *uid_);
  number_ = ref.number;
  index_ = ref.index;
  at_ = ref.index == 0 ? 0 : ref.index - 1;
  end_ = at_ + 1;
  if (ref.index == 0 && entry != nullptr && entry->batch) end_ = entry->batch->tasks.added();
  return true;
}

bool Sweep::nextOfAll() {
  bool found = false;
  registry_.forEach(number_, [&](const Registry::Entry& entry) {
    if (entry.id > newest_) return false;
    found = true;
    number_ = entry.id;
    at_ = 0;
    end_ = !mine(entry) ? 0 : entry.batch ? entry.batch->tasks.added() : 1;
    return false;
  });
  return found;
}

}  // namespace baton::daemon
