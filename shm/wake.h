// Sleeping until the other side of shared memory has done something, and waking it. The protocol is
// wake_word.h.
//
// A `Sleeper` belongs to one side and is used by one thread at a time; a `Waker` by any thread of the other.
// A client or worker sleeps on a futex for some 20 ms, so that a hot hand-over costs one futex call on each
// side, and then in poll on its doorbell and whatever else tells of an end: its socket, a pidfd. The daemon
// never sleeps here: it arms each connection's word as *in poll* and waits in its event loop for the eventfd.
//
// Invariants
// 1. A waker never blocks and never spins, whatever the sleeper does to the word and to its end of the bell.
// 2. A sleeper looks again after it has published how it sleeps, and whenever it returns.
// 3. A sleeper polls its descriptors at the latest `futexTime` after it began to wait, however often it is
// woken
//    for nothing: so it notices the end of the peer or the daemon within that time.
// 4. The futex is shared (no PRIVATE flag) and one waiter is woken: the word has one sleeper, and a
// stranger's
//    thousand waiters shall not be the waker's work.
//
// Deaths: see wake_word.h; the kernel forgets a sleeper with its process.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <span>
#include <utility>

#include "shm/fd.h"
#include "shm/wake_word.h"

namespace baton::shm {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC
using Deadline = std::optional<Clock::time_point>;

// What wakes a side that sleeps in poll. Made by the daemon with the rings; each side has one end.
//
// `socket`: one end of a SEQPACKET pair. Either side may be hostile: nothing here blocks on it, and each end
// sees the other's close. It is the API's pollable descriptor. `event`: an eventfd, only towards the daemon,
// which has it in epoll, edge-triggered, and never reads it: a hostile client can clear its O_NONBLOCK, then
// a read or write of the daemon would block.
class Doorbell {
 public:
  enum class Kind { none, socket, event };

  Doorbell() = default;
  Doorbell(Kind kind, Fd fd) : kind_(kind), fd_(std::move(fd)) {}

  // Both throw std::system_error.
  static std::pair<Doorbell, Doorbell> makePair();
  static Doorbell makeEvent();

  int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  // Another descriptor of it. Throws std::system_error.
  Fd duplicate() const;
  [[nodiscard]] Fd release() { return Fd(fd_.release()); }

  // False: the other end is closed. A bell that is full has been rung already.
  bool ring() const;
  // Takes what was rung. False: the other end is closed. Only of a socket.
  bool drain() const;

 private:
  Kind kind_ = Kind::none;
  Fd fd_;
};

// Wakes the other side if it sleeps.
class Waker {
 public:
  // Neither is owned. `bell` is this side's end; it may be empty where the other side never polls.
  Waker(WakeWord& peer, const Doorbell& bell) : peer_(&peer), bell_(&bell) {}

  // After each `publish` and `release`. False: it slept in poll, and its end of the bell is closed: it is
  // gone.
  bool wake() {
    const Sleep how = peer_->claim();
    return how == Sleep::awake || wakeAsleep(how);
  }

 private:
  bool wakeAsleep(Sleep how);

  WakeWord* peer_;
  const Doorbell* bell_;
};

enum class Woken {
  ready,       // the caller's condition holds
  descriptor,  // one of the descriptors has something: their revents say which
  peerGone,    // the other end of the doorbell is closed
  timedOut,
  interrupted,  // by a signal handler
};

class Sleeper {
 public:
  struct Options {
    // Long enough that what is busy never comes to poll, short enough that an end is noticed at once.
    std::chrono::microseconds futexTime{20'000};
  };

  // Neither is owned. `bell` is this side's end, a socket, or empty.
  Sleeper(WakeWord& own, const Doorbell& bell) : Sleeper(own, bell, Options()) {}
  Sleeper(WakeWord& own, const Doorbell& bell, Options options)
      : own_(&own), bell_(&bell), options_(options) {}

  // Until `ready()` is true, one of `others` has what its events ask for, or the deadline (none: for ever).
  // `ready` looks at shared memory (tryPeek, tryReserve) and may throw; it is called at least once.
  template <class Ready>
  Woken wait(Ready&& ready, std::span<pollfd> others, Deadline deadline) {
    if (ready()) return Woken::ready;
    const Clock::time_point futexEnd = Clock::now() + options_.futexTime;
    for (bool poll = options_.futexTime.count() == 0;;) {
      own_->prepare(poll ? Sleep::inPoll : Sleep::onFutex);
      const Cancel cancel{*own_};
      if (ready()) return Woken::ready;
      const Woken woken = poll ? sleepInPoll(others, deadline) : sleepOnFutex(futexEnd, deadline);
      // What was published before the end, or before the time ran out, is still worth more.
      if (ready()) return Woken::ready;
      if (woken != Woken::ready && woken != Woken::timedOut) return woken;
      if (deadline && Clock::now() >= *deadline) return Woken::timedOut;
      poll = Clock::now() >= futexEnd;
    }
  }

  // For a caller's event loop: publishes that this side sleeps in poll. Then look again; while there is
  // nothing, poll the doorbell's descriptor. When it is readable: `disarm`, and look.
  void arm() { own_->prepare(Sleep::inPoll); }
  // False: the other end of the doorbell is closed. Rings that came are taken.
  bool disarm();

 private:
  // Awake again however the sleep ends.
  struct Cancel {
    WakeWord& word;
    ~Cancel() { word.cancel(); }
  };

  // `ready`: woken, look again; timedOut: the end of the time.
  Woken sleepOnFutex(Clock::time_point end, Deadline deadline);
  Woken sleepInPoll(std::span<pollfd> others, Deadline deadline);

  WakeWord* own_;
  const Doorbell* bell_;
  Options options_;
};

}  // namespace baton::shm
