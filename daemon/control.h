// What requests may ask of the daemon as a whole.
#pragma once

#include <string>
#include <vector>

#include "daemon/config.h"
#include "ipc/baton.capnp.h"

namespace baton::daemon {

class Control {
 public:
  virtual ~Control() = default;
  // Drained: no new work is taken; what is there goes on.
  virtual void setDraining(bool draining) = 0;
  virtual bool draining() const = 0;
  // Drains with a bound and then ends the daemon; `now`: cancels what runs at once.
  virtual void stop(bool now) = 0;
  virtual bool stopping() const = 0;
  // One line per changed key. Throws Error(usage) with file, line and key; then nothing has changed.
  virtual std::vector<std::string> reload() = 0;
  virtual const LoadedConfig& config() const = 0;
  virtual void fillStatus(ipc::wire::Status::Builder status) const = 0;
  // A sentence for who submits detached work, once in the daemon's life; empty: nothing to say.
  virtual std::string noticeOnce() = 0;
};

}  // namespace baton::daemon
