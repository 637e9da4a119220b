#include "daemon/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>

#include "shm/fd.h"

namespace baton::daemon {
namespace {

// A log that nobody rotates starts anew above this.
constexpr off_t kMaxLogBytes = off_t{1} << 20;

}  // namespace

Log::Log(const std::string& path) : journal_(std::getenv("JOURNAL_STREAM") != nullptr) {
  if (path.empty()) return;
  const shm::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) < 0) return;
  if (status.st_size > kMaxLogBytes && ::ftruncate(file.get(), 0) < 0) return;
  ::dup2(file.get(), STDERR_FILENO);
}

void Log::write(Priority priority, const std::string& text) const {
  std::string line;
  if (journal_) {
    line = "<" + std::to_string(static_cast<int>(priority)) + ">";
  } else {
    std::array<char, 32> stamp{};
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::localtime_r(&now, &parts);
    line.assign(stamp.data(), std::strftime(stamp.data(), stamp.size(), "%F %T ", &parts));
  }
  line += text + "\n";
  [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace baton::daemon
