// `--halt WHEN,WHY=N`: decides from the ends of jobs whether to go on. Pure; any one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "ctl/map/exit_status.h"

namespace baton::ctl::map {

struct HaltPolicy {
  enum class When { never, soon, now };
  enum class Why { fail, success, done };
  When when = When::never;
  Why why = Why::fail;
  std::uint64_t threshold = 0;  // jobs, or percent of all jobs; never 0 but for `never`
  bool percent = false;
};

// `never`, `now|soon,fail|success|done=N[%]`, and the old spellings 0 1 2 -1 -2 N%. Throws Error(usage).
HaltPolicy parseHalt(std::string_view text);

enum class Go {
  on,    // start the next job
  soon,  // start no more, let the running ones end
  now,   // start no more, end the running ones
};

// Tell it of every job's last end (not of an attempt that is retried), and not of jobs ended because it said
// `now`.
class Halt {
 public:
  explicit Halt(HaltPolicy policy) : policy_(policy) {}

  // All of these answer the same as state(). Once it has left `on` the answer does not change any more.
  Go jobEnded(const JobEnd& end);
  // Number of jobs in all, as soon as the input has ended: a percentage says nothing before.
  Go setTotal(std::uint64_t total);
  Go state() const { return state_; }

  // Map's own exit code, as things stand: that of the moment of halting, if it halted. The number of failed
  // jobs, or their percentage for a policy in percent; the one job's status for a policy of one job; 0 for
  // enough successes.
  int exitCode() const;
  std::uint64_t failed() const { return failed_; }
  // Whether this end is of the kind that counts towards the policy: map then names the job on stderr.
  bool counts(const JobEnd& end) const;

 private:
  bool reached() const;
  // The threshold comes to exactly one job: then that job's status is map's.
  bool isOneJob() const;
  int statusAtHalt() const;
  int failureOrPercent() const;
  Go decide();

  HaltPolicy policy_;
  Go state_ = Go::on;
  std::optional<std::uint64_t> total_;
  std::uint64_t failed_ = 0;
  std::uint64_t succeeded_ = 0;
  std::optional<int> firstStatus_;  // of the first job that counted
  int haltStatus_ = 0;
};

}  // namespace baton::ctl::map
