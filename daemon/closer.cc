#include "daemon/closer.h"

#include <csignal>
#include <memory>

namespace baton::daemon {

Closer::~Closer() {
  if (!shared_) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->ending = true;
  shared_->wake.notify_one();
}

void Closer::close(shm::Fd fd) {
  if (!fd) return;
  if (!shared_) {
    shared_ = std::make_shared<Shared>();
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread([shared = shared_] {
      std::unique_lock lock(shared->mutex);
      while (true) {
        shared->wake.wait(lock, [&] { return shared->ending || !shared->waiting.empty(); });
        if (shared->ending) return;
        shm::Fd next = std::move(shared->waiting.front());
        lock.unlock();
        next.reset();
        lock.lock();
        shared->waiting.pop_front();
      }
    }).detach();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->waiting.push_back(std::move(fd));
  shared_->wake.notify_one();
}

bool Closer::stuck() const {
  if (!shared_) return false;
  const std::lock_guard lock(shared_->mutex);
  return shared_->waiting.size() >= kStuck;
}

}  // namespace baton::daemon
