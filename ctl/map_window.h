// How many jobs of `map` run at once, and how many are given to the daemon ahead of time. Pure.
//
// 1. What was asked for by -j is never passed. CPU jobs never pass the slots, whatever was asked.
// 2. Below the pool's own limit, and for IO jobs, exactly that many are given: all that is given may run.
// 3. At the pool's limit some more are given, so that no slot waits for batonctl: as many as keep the pool
// busy
//    for kAhead, but not so many that another program's task would wait long behind them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace baton::ctl {

// -j: N, +N (slots and N more), -N (all but N slots), N% (of the slots), 0 (as many as there can be).
struct JobCount {
  enum class Kind { number, more, less, percent };
  Kind kind = Kind::percent;
  std::uint32_t value = 100;

  // Throws Error(usage).
  static JobCount parse(std::string_view text);
  // At least 1; 0 for "as many as there can be".
  std::uint32_t resolve(std::uint32_t slots) const;
};

struct Capacity {
  std::uint32_t slots = 1;      // of the pool
  std::uint32_t slotsEach = 1;  // --cpus
  bool io = false;
  std::uint32_t ioTasks = 1;  // IO tasks that run at once
};

class MapWindow {
 public:
  // `exact`: rule 2 holds whatever the limit is, for {%}.
  MapWindow(const JobCount& jobs, const Capacity& capacity, bool exact);

  // Jobs that may run at once.
  std::uint32_t jobs() const { return jobs_; }
  // Jobs that may be given and not yet ended.
  std::uint32_t size() const;
  // Whether it is time to give more, when `unended` are out: not for every single one if jobs are short.
  bool wantsMore(std::uint32_t unended) const;
  // A job has ended that took so long.
  void ended(std::chrono::nanoseconds wall);

  // A sentence where -j asks for more than there can be; else empty.
  const std::string& notice() const { return notice_; }

 private:
  std::uint32_t jobs_ = 1;
  bool exact_ = false;
  double meanSeconds_ = 1;  // of late
  std::string notice_;
};

}  // namespace baton::ctl
