#include "daemon/background.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "ipc/error.h"
#include "shm/fd.h"

namespace baton::daemon {

struct Background::Shared {
  struct Job {
    std::function<void()> job;
    std::function<void()> done;
  };
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> waiting;
  std::vector<std::function<void()>> done;
  bool ending = false;
  shm::Fd event;

  void work() {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [this] { return ending || !waiting.empty(); });
      if (ending) return;
      Job next = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      next.job();
      lock.lock();
      done.push_back(std::move(next.done));
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto wrote = ::write(event.get(), &one, sizeof(one));
    }
  }
};

Background::Background(Loop& loop) : loop_(loop) {}

Background::~Background() {
  if (!shared_) return;
  const std::lock_guard lock(shared_->mutex);
  shared_->ending = true;
  shared_->wake.notify_one();
}

void Background::start() {
  shared_ = std::make_shared<Shared>();
  shared_->event = shm::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!shared_->event) throwErrno("cannot make an eventfd");
  ready_ = loop_.onIo(shared_->event.get(), EPOLLIN, [this](std::uint32_t) { collect(); });
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread([shared = shared_] { shared->work(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Background::run(std::function<void()> job, std::function<void()> done) {
  if (!shared_) start();
  const std::lock_guard lock(shared_->mutex);
  shared_->waiting.push_back({std::move(job), std::move(done)});
  shared_->wake.notify_one();
}

void Background::collect() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(shared_->event.get(), &count, sizeof(count));
  std::vector<std::function<void()>> done;
  {
    const std::lock_guard lock(shared_->mutex);
    done.swap(shared_->done);
  }
  for (const auto& each : done) each();
}

}  // namespace baton::daemon
