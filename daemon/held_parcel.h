// A parcel that waits for its task. What is in it is a stranger's, and closing that may block: the loop never
// does. Single-threaded.
#pragma once

#include <fcntl.h>

#include "daemon/closer.h"
#include "ipc/charge.h"

namespace baton::daemon {

class HeldParcel {
 public:
  HeldParcel() = default;
  // `charge`: for one descriptor of its uid. `closer` outlives this.
  HeldParcel(shm::Fd fd, ipc::Charge charge, Closer& closer)
      : fd_(std::move(fd)), charge_(std::move(charge)), closer_(&closer) {}
  HeldParcel(HeldParcel&& other) noexcept = default;
  HeldParcel& operator=(HeldParcel&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(charge_, other.charge_);
    std::swap(closer_, other.closer_);
    return *this;
  }
  ~HeldParcel() {
    if (fd_) closer_->close(std::move(fd_));
  }

  explicit operator bool() const { return static_cast<bool>(fd_); }
  // For who hands it on: what is left there is closed in the end.
  shm::Fd& fd() { return fd_; }
  // Another descriptor of the same parcel, for an attempt that is not the last; empty: there is none to be
  // had.
  HeldParcel duplicate() const {
    return fd_ ? HeldParcel(shm::Fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 3)), {}, *closer_) : HeldParcel();
  }

 private:
  shm::Fd fd_;
  ipc::Charge charge_;
  Closer* closer_ = nullptr;
};

}  // namespace baton::daemon
