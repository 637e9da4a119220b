// `--joblog FILE`: one line per ended job, in GNU parallel's nine columns.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "ctl/map/exit_status.h"
#include "shm/fd.h"

namespace baton::ctl::map {

struct JobLogEntry {
  std::uint64_t sequence = 0;          // from 1, in the order of the input
  std::chrono::nanoseconds started{};  // since 1970, of the last attempt
  std::chrono::nanoseconds runtime{};  // of the last attempt
  std::uint64_t stdoutBytes = 0;       // what Output::end() returned
  JobEnd end;
  std::string command;  // the rendered line; its newlines are written as NUL
};

std::string formatJobLogEntry(const JobLogEntry& entry);

// Each entry is on its way to the kernel when write() returns. May block as file I/O does.
class JobLog {
 public:
  // FILE is truncated and gets a header; +FILE is appended to, without a header. Throws Error(usage) if it
  // cannot be opened.
  explicit JobLog(const std::string& path);
  // Throws Error(system), e.g. for a full disk.
  void write(const JobLogEntry& entry);

 private:
  void writeAll(const std::string& text);

  std::string path_;
  shm::Fd file_;
};

}  // namespace baton::ctl::map
