// The counter of task and batch ids, kept in the state directory. Small integers from 1, never given twice:
// not after a restart, not after kill -9 at any instruction, not after a power cut. Single-threaded; one
// per file (the daemon's guard lock sees to that).
//
// 1. The *ceiling* is on disk, synced: only ids below it are given. Raising it is the one thing that costs
//    a sync, some milliseconds: a thread raises it ahead of need, by as many ids as were given since the
//    start (at least 64, at most 65,536). Only who takes them faster than the disk can sync waits for it.
// 2. The *mark* is in the same file, not synced: no id at or above it was given in this boot. The page
//    cache outlives a process, so a daemon that follows in the same boot goes on at the mark: after a clean
//    end exactly, after a kill -9 some ids on. It needs no sync for its first id.
// 3. After another boot, or if the mark is not exactly as written, ids go on at the ceiling.
// 4. A ceiling that is not exactly as written is refused, never taken for a fresh start.
// 5. A file that is made while ids are given (it was removed) has no mark below what may have been given.
// 6. The file is made by temp + sync + rename and then overwritten in place, ceiling and mark each within
//    one disk sector of its own: that cannot tear and costs a fifth of a rename (0.2 ms against 1.5 ms on
//    ext4).
#pragma once

#include <cstdint>
#include <future>
#include <string>

#include "shm/fd.h"

namespace baton::daemon {

class IdCounter {
 public:
  // Ids are carried as JSON numbers, too.
  static constexpr std::uint64_t kEnd = 1ULL << 53;

  // `directory` must exist. Reads the file, writes nothing. Throws Error(system) if it cannot be read,
  // Error(refused) if it is damaged.
  explicit IdCounter(std::string directory, const std::string& name = "ids",
                     const std::string& bootIdFile = "/proc/sys/kernel/random/boot_id");
  // As close(), but keeps silent about failures: then some ids are skipped, nothing else.
  ~IdCounter();
  IdCounter(const IdCounter&) = delete;
  IdCounter& operator=(const IdCounter&) = delete;

  // Begins to raise the ceiling if less than half a raise is left, and does not wait for it.
  void prepare();
  // The first of `count` ids in a row (1 <= count). Blocks for a sync of the disk if that many are not there
  // yet. Throws Error(system) if they cannot be written and Error(refused) at the end of all ids; then no id
  // is used up.
  std::uint64_t take(std::uint64_t count = 1);
  // Writes the exact next id, and nothing after it: a raise that is under way is waited for, or it would
  // lower the ceiling of whoever follows. take() may be called again after it. Throws Error(system).
  void close();

 private:
  struct Raised {
    std::uint64_t ceiling = 0;
    shm::Fd file;  // if it had to be made
  };
  void load();
  // What a raise gives from here on, at most and at least.
  std::uint64_t raiseTo(std::uint64_t least) const;
  // On the raising thread: nothing of ours but what never changes. `file`: -1 if there is none.
  Raised raise(int file, std::uint64_t ceiling) const;
  shm::Fd create(std::uint64_t ceiling) const;
  void adopt(Raised raised);
  // Takes what the raising thread has done, if there is one; waits for it.
  void finishRaise();
  void writeMark(std::uint64_t mark);

  std::string directory_;
  std::string path_;
  std::string boot_;  // id of this boot; empty: unknown
  shm::Fd file_;
  std::uint64_t next_ = 1;
  std::uint64_t mark_ = 1;
  std::uint64_t ceiling_ = 1;
  std::uint64_t given_ = 0;  // since the start
  std::future<Raised> raising_;
};

}  // namespace baton::daemon
