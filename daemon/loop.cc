#include "daemon/loop.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace baton::daemon {

struct Source::State {
  std::function<void(std::uint32_t)> callback;
  sd_event_source* source = nullptr;
  sd_event* turnsOf = nullptr;  // of a source made by onTurn
  bool waitsForTurn = false;
};

namespace {

void check(int result, const char* what) {
  if (result < 0) throw std::system_error(-result, std::generic_category(), what);
}

// sd-event keeps a reference to a source while it calls it, so a callback may end its own source: the state
// goes with the last reference.
void invoke(void* userdata, std::uint32_t events) {
  static_cast<Source::State*>(userdata)->callback(events);
}

int ioCallback(sd_event_source*, int, std::uint32_t events, void* userdata) {
  invoke(userdata, events);
  return 0;
}
int timeCallback(sd_event_source*, std::uint64_t, void* userdata) {
  invoke(userdata, 0);
  return 0;
}
int signalCallback(sd_event_source*, const signalfd_siginfo*, void* userdata) {
  invoke(userdata, 0);
  return 0;
}
int plainCallback(sd_event_source*, void* userdata) {
  invoke(userdata, 0);
  return 0;
}

}  // namespace

Source::Source() = default;
Source::Source(Source&& other) noexcept = default;

Source& Source::operator=(Source&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}

Source::~Source() {
  reset();
}

void Source::reset() {
  if (!state_) return;
  sd_event_source_set_enabled(state_->source, SD_EVENT_OFF);
  State* state = state_.release();
  sd_event_source* source = state->source;
  sd_event_source_set_userdata(source, state);
  sd_event_source_set_destroy_callback(source, [](void* userdata) { delete static_cast<State*>(userdata); });
  sd_event_source_unref(source);
}

void Source::setEvents(std::uint32_t events) {
  sd_event_source_set_io_events(state_->source, events);
}

void Source::arm(std::chrono::nanoseconds delay) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(delay).count();
  check(
      sd_event_source_set_time_relative(state_->source, micros > 0 ? static_cast<std::uint64_t>(micros) : 0),
      "cannot set a timer");
  check(sd_event_source_set_enabled(state_->source, SD_EVENT_ONESHOT), "cannot arm a timer");
}

void Source::disarm() {
  sd_event_source_set_enabled(state_->source, SD_EVENT_OFF);
}

void Source::enable(bool on) {
  if (state_->turnsOf != nullptr) {
    enableTurn(on);
  } else {
    sd_event_source_set_enabled(state_->source, on ? SD_EVENT_ON : SD_EVENT_OFF);
  }
}

// A deferred source of sd-event keeps its place in the queue of what is ready for ever, and would always go
// before all that has become ready since it was made: a new one goes behind.
void Source::enableTurn(bool on) {
  if (std::exchange(state_->waitsForTurn, on) == on) return;
  sd_event_source_set_enabled(state_->source, SD_EVENT_OFF);
  if (!on) return;
  sd_event_source* fresh = nullptr;
  check(sd_event_add_defer(state_->turnsOf, &fresh, plainCallback, state_.get()),
        "cannot make a deferred source");
  sd_event_source_unref(std::exchange(state_->source, fresh));
}

Loop::Loop() {
  check(sd_event_new(&event_), "cannot make an event loop");
}

Loop::~Loop() {
  sd_event_unref(event_);
}

Source Loop::make() {
  Source source;
  source.state_ = std::make_unique<Source::State>();
  return source;
}

Source Loop::onIo(int fd, std::uint32_t events, std::function<void(std::uint32_t)> callback) {
  Source source = make();
  source.state_->callback = std::move(callback);
  check(sd_event_add_io(event_, &source.state_->source, fd, events, ioCallback, source.state_.get()),
        "cannot watch a descriptor");
  return source;
}

Source Loop::onTimer(std::function<void()> callback) {
  Source source = make();
  source.state_->callback = [call = std::move(callback)](std::uint32_t) { call(); };
  check(sd_event_add_time_relative(event_, &source.state_->source, CLOCK_BOOTTIME, 0, 1000, timeCallback,
                                   source.state_.get()),
        "cannot make a timer");
  source.disarm();
  return source;
}

Source Loop::onSignal(int signal, std::function<void()> callback) {
  Source source = make();
  source.state_->callback = [call = std::move(callback)](std::uint32_t) { call(); };
  check(sd_event_add_signal(event_, &source.state_->source, signal, signalCallback, source.state_.get()),
        "cannot watch a signal");
  return source;
}

Source Loop::onPost(std::function<void()> callback) {
  Source source = make();
  source.state_->callback = [call = std::move(callback)](std::uint32_t) { call(); };
  check(sd_event_add_post(event_, &source.state_->source, plainCallback, source.state_.get()),
        "cannot make a post source");
  source.enable(false);
  return source;
}

Source Loop::onTurn(std::function<void()> callback) {
  Source source = onIdle({});
  Source::State* state = source.state_.get();
  state->callback = [state, call = std::move(callback)](std::uint32_t) {
    state->waitsForTurn = false;
    call();
  };
  state->turnsOf = event_;
  return source;
}

Source Loop::onIdle(std::function<void()> callback) {
  Source source = make();
  source.state_->callback = [call = std::move(callback)](std::uint32_t) { call(); };
  check(sd_event_add_defer(event_, &source.state_->source, plainCallback, source.state_.get()),
        "cannot make a deferred source");
  source.enable(false);
  sd_event_source_set_priority(source.state_->source, SD_EVENT_PRIORITY_IDLE);
  return source;
}

void Loop::answerWatchdog() {
  sd_event_set_watchdog(event_, 1);
}

bool Loop::turn() {
  const int result = sd_event_run(event_, 0);
  check(result, "cannot run the event loop");
  return result > 0;
}

int Loop::run() {
  return sd_event_loop(event_);
}

void Loop::exit(int code) {
  sd_event_exit(event_, code);
}

std::chrono::nanoseconds monotonicNow() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::uint64_t calendarNowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace baton::daemon
