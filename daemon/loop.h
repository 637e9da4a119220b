// sd-event with owners: every source is an object that ends with its owner. Single-threaded.
#pragma once

#include <systemd/sd-event.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace baton::daemon {

// One source of a loop. Destroying it, also from inside its own callback, ends it.
class Source {
 public:
  Source();
  Source(Source&& other) noexcept;
  Source& operator=(Source&&) noexcept;
  ~Source();

  explicit operator bool() const { return state_ != nullptr; }
  void reset();
  // IO sources: the epoll events from now on.
  void setEvents(std::uint32_t events);
  // Timers: fire once, `delay` from now; disarm.
  void arm(std::chrono::nanoseconds delay);
  void disarm();
  // Deferred and post sources.
  void enable(bool on);

  struct State;  // defined in loop.cc

 private:
  friend class Loop;
  void enableTurn(bool on);
  std::unique_ptr<State> state_;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Source onIo(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback);
  // Not armed yet. CLOCK_BOOTTIME, so that a suspended machine's time counts; accurate to a millisecond.
  Source onTimer(std::function<void()> callback);
  // The signal must be blocked in every thread.
  Source onSignal(int signal, std::function<void()> callback);
  // Called once the other sources of a turn have been served, while enabled; starts disabled.
  Source onPost(std::function<void()> callback);
  // Called once for each time it is enabled, after what else is ready by then; starts disabled. A callback
  // that has enabled it again must not destroy it.
  Source onTurn(std::function<void()> callback);
  // Called when nothing else is to be done, while enabled; starts disabled.
  Source onIdle(std::function<void()> callback);

  // Answers systemd's watchdog from the loop, if it asks for it.
  void answerWatchdog();
  // One turn, without waiting. False: there was nothing to do.
  bool turn();
  // Until exit() is called.
  int run();
  void exit(int code);

 private:
  Source make();
  sd_event* event_ = nullptr;
};

// Monotonic, since boot.
std::chrono::nanoseconds monotonicNow();
// Since 1970, UTC.
std::uint64_t calendarNowNs();

}  // namespace baton::daemon
