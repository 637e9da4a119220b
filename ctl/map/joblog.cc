#include "ctl/map/joblog.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "ipc/error.h"

namespace baton::ctl::map {
namespace {

constexpr const char* kHeader = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

double seconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

std::string formatJobLogEntry(const JobLogEntry& entry) {
  const JobEnd& end = entry.end;
  int exitValue = end.signal != 0 ? 0 : end.exitCode;
  int signal = end.signal;
  if (end.timedOut) {
    exitValue = -1;
    if (signal == 0) signal = SIGTERM;
  }
  std::string command = entry.command;
  std::replace(command.begin(), command.end(), '\n', '\0');
  return fmt::format("{}\t:\t{:.3f}\t{:10.3f}\t0\t{}\t{}\t{}\t{}\n", entry.sequence, seconds(entry.started),
                     seconds(entry.runtime), entry.stdoutBytes, exitValue, signal, command);
}

JobLog::JobLog(const std::string& path) : path_(path) {
  const bool append = path_.starts_with('+');
  if (append) path_.erase(0, 1);
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (append ? 0 : O_TRUNC);
  file_ = shm::Fd(::open(path_.c_str(), flags, 0666));
  if (!file_) {
    throw Error(Code::usage, "cannot write to the job log '" + path_ + "': " + std::strerror(errno));
  }
  if (!append) writeAll(kHeader);
}

void JobLog::write(const JobLogEntry& entry) {
  writeAll(formatJobLogEntry(entry));
}

void JobLog::writeAll(const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = ::write(file_.get(), text.data() + done, text.size() - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      throwErrno("cannot write to the job log '" + path_ + "'");
    }
    done += static_cast<std::size_t>(written);
  }
}

}  // namespace baton::ctl::map
