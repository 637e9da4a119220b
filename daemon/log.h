// The daemon's own log: lines on stderr, with journald's priority prefix where stderr is the journal. Only
// the daemon logs, once, where it decides; libraries throw.
#pragma once

#include <string>

namespace baton::daemon {

enum class Priority { error = 3, warning = 4, notice = 5, info = 6 };

class Log {
 public:
  // `path`: stderr goes to this file from now on (a daemon that no service manager watches); empty: it stays.
  explicit Log(const std::string& path);
  // `text` must be free of control characters: what comes from users has been through ipc::escape.
  void write(Priority priority, const std::string& text) const;

 private:
  bool journal_ = false;
};

}  // namespace baton::daemon
