// The tasks that a selection names, one after the other however many they are, those of batches one by one.
// It may take many turns of the loop: what is dropped meanwhile is passed over, entries made meanwhile are
// not looked at.
#pragma once

#include <functional>
#include <optional>

#include "daemon/registry.h"
#include "ipc/baton.capnp.h"

namespace baton::daemon {

class Sweep {
 public:
  enum class Kind { every, unfinished };

  // Throws Error(tooLarge) for more ids than one request may name.
  Sweep(Registry& registry, Uid uid, ipc::wire::Selection::Reader selection, Kind kind);
  // Everything unfinished that there is now, of every uid.
  explicit Sweep(Registry& registry);
  // Everything unfinished of one batch.
  Sweep(Registry& registry, Uid uid, std::uint64_t batch);

  // A step of a chore (daemon/chores.h): looks whether the ids are known, all of them first, then visits some
  // tasks. `visit` may change and end them. False: there are no more. Throws Error(unknownId).
  bool step(const std::function<void(Task&)>& visit);
  // The same for tasks and batches as they were named; `index` is 0 but for one task of a batch.
  bool stepEntries(const std::function<void(const Registry::Entry&, std::uint32_t index)>& visit);
  // Begins again; the ids are known to be good.
  void rewind();
  // No id was named.
  bool everything() const { return everything_; }

 private:
  struct Ref {
    std::uint64_t number = 0;
    std::uint32_t index = 0;  // 0: the task or the whole batch
  };
  bool checkSome();
  void check(const Ref& ref) const;
  bool nextEntry();
  bool nextNamed();
  bool nextOfAll();
  Task* nextTask();
  bool mine(const Registry::Entry& entry) const { return !uid_ || entry.uid == *uid_; }

  Registry& registry_;
  std::optional<Uid> uid_;
  Kind kind_ = Kind::unfinished;
  bool everything_ = true;
  std::vector<Ref> refs_;
  std::size_t checked_ = 0;   // of refs_
  std::size_t taken_ = 0;     // of refs_
  std::uint64_t newest_ = 0;  // when everything began
  // The entry whose tasks are visited now: from `at_` on, in a batch an index less one, up to `end_`.
  std::uint64_t number_ = 0;
  std::uint32_t index_ = 0;  // as it was named
  std::size_t at_ = 0;
  std::size_t end_ = 0;
  bool done_ = false;
};

}  // namespace baton::daemon
