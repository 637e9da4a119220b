// How a job of `map` ended, and the exit code that map makes of the number of failures.
#pragma once

#include <cstdint>

namespace baton::ctl::map {

struct JobEnd {
  int exitCode = 0;       // 0..255; what baton itself reports (126, 127, 125 for a lost worker) goes here too
  int signal = 0;         // 0: it was not ended by a signal
  bool timedOut = false;  // ended by --timeout, whatever exit code or signal it had in the end

  bool failed() const { return timedOut || exitCode != 0 || signal != 0; }
  // As the exit code of a process: 124 for a time limit, 128+N for a signal, else the exit code.
  int status() const;
};

// 0..100 is the number of failed jobs, 101 stands for more.
int failureStatus(std::uint64_t failed);

// Failed jobs in percent of all, rounded up: what `--halt …=N%` makes of it. 0 if there are no jobs.
int failurePercent(std::uint64_t failed, std::uint64_t total);

}  // namespace baton::ctl::map
