#include "shm/wake.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "shm/spin.h"

namespace baton::shm {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

// Times that say "never on its own" and "at once", however loaded the machine.
constexpr Sleeper::Options kFutexOnly{hours(1)};
constexpr Sleeper::Options kPollOnly{microseconds(0)};

Deadline in(Clock::duration time) {
  return Clock::now() + time;
}

std::uint32_t value(WakeWord& word) {
  return word.futex().load();
}

// Until the sleeper has published that it sleeps so.
void awaitSleep(WakeWord& word, Sleep how) {
  while (value(word) != WakeWord::raw(how)) std::this_thread::yield();
}

struct Pair {
  explicit Pair(Sleeper::Options options) : sleeper(word, bells.first, options) {}

  WakeWord word;
  std::pair<Doorbell, Doorbell> bells = Doorbell::makePair();
  Sleeper sleeper;
  Waker waker{word, bells.second};
};

TEST(Wake, returnsAtOnceWhatIsThere) {
  Pair pair(kFutexOnly);
  EXPECT_EQ(pair.sleeper.wait([] { return true; }, {}, std::nullopt), Woken::ready);
  EXPECT_EQ(value(pair.word), 0U);
}

TEST(Wake, looksAgainAfterItSaidThatItSleeps) {
  for (const auto& options : {kFutexOnly, kPollOnly}) {
    Pair pair(options);
    int looks = 0;
    const auto second = [&] {
      if (++looks == 1) return false;
      EXPECT_NE(value(pair.word), 0U);
      return true;
    };
    EXPECT_EQ(pair.sleeper.wait(second, {}, std::nullopt), Woken::ready);
    EXPECT_EQ(value(pair.word), 0U);
  }
}

TEST(Wake, endsWithItsDeadline) {
  for (const auto& options : {kFutexOnly, kPollOnly, Sleeper::Options{}}) {
    Pair pair(options);
    const auto start = Clock::now();
    EXPECT_EQ(pair.sleeper.wait([] { return false; }, {}, in(milliseconds(30))), Woken::timedOut);
    EXPECT_GE(Clock::now() - start, milliseconds(30));
    EXPECT_EQ(pair.sleeper.wait([] { return false; }, {}, in(milliseconds(-1))), Woken::timedOut);
    EXPECT_EQ(value(pair.word), 0U);
  }
}

TEST(Wake, wakesInEitherSleep) {
  for (const auto& options : {kFutexOnly, kPollOnly}) {
    Pair pair(options);
    std::atomic<bool> ready{false};
    std::thread waker([&] {
      awaitSleep(pair.word, options.futexTime.count() != 0 ? Sleep::onFutex : Sleep::inPoll);
      ready.store(true);
      EXPECT_TRUE(pair.waker.wake());
    });
    EXPECT_EQ(pair.sleeper.wait([&] { return ready.load(); }, {}, std::nullopt), Woken::ready);
    waker.join();
  }
}

TEST(Wake, oneWakerWakesOneSleep) {
  Pair pair(kPollOnly);
  pair.sleeper.arm();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pair.waker.wake());
  char ring = 0;
  EXPECT_EQ(::recv(pair.bells.first.fd(), &ring, 1, MSG_DONTWAIT), 1);
  EXPECT_EQ(::recv(pair.bells.first.fd(), &ring, 1, MSG_DONTWAIT), -1);
}

TEST(Wake, wakesNobodyWhoIsAwake) {
  Pair pair(kPollOnly);
  for (const std::uint32_t word : {0U, 3U, ~0U}) {
    pair.word.futex().store(word);
    EXPECT_TRUE(pair.waker.wake());
    EXPECT_EQ(value(pair.word), word);
  }
  char ring = 0;
  EXPECT_EQ(::recv(pair.bells.first.fd(), &ring, 1, MSG_DONTWAIT), -1);
}

TEST(Wake, aCallersLoopIsWokenThroughTheBell) {
  Pair pair(kPollOnly);
  for (int i = 0; i < 3; ++i) {
    pair.sleeper.arm();
    pollfd polled{.fd = pair.bells.first.fd(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(::poll(&polled, 1, 0), 0);
    EXPECT_TRUE(pair.waker.wake());
    EXPECT_EQ(::poll(&polled, 1, -1), 1);
    EXPECT_TRUE(pair.sleeper.disarm());
    EXPECT_EQ(::poll(&polled, 1, 0), 0);
  }
}

// The daemon's way: armed, edge-triggered, never read.
TEST(Wake, anEventIsSeenEachTimeThoughItIsNeverRead) {
  WakeWord word;
  const Doorbell bell = Doorbell::makeEvent();
  Waker waker(word, bell);
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {}};
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, bell.fd(), &event), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(waker.wake());
    EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 0) << "nobody had said that it sleeps";
    word.prepare(Sleep::inPoll);
    EXPECT_TRUE(waker.wake());
    EXPECT_TRUE(waker.wake());
    EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 1);
    EXPECT_EQ(::epoll_wait(epoll.get(), &event, 1, 0), 0);
  }
}

TEST(Wake, noticesOtherDescriptors) {
  Pair pair(Sleeper::Options{});
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd writer(ends[1]);
  std::array<pollfd, 2> others{{{.fd = reader.get(), .events = POLLIN, .revents = 0},
                                {.fd = pair.bells.second.fd(), .events = POLLIN, .revents = 0}}};
  std::thread closer([&] {
    awaitSleep(pair.word, Sleep::inPoll);
    writer.reset();
  });
  EXPECT_EQ(pair.sleeper.wait([] { return false; }, others, std::nullopt), Woken::descriptor);
  EXPECT_NE(others[0].revents & POLLHUP, 0);
  EXPECT_EQ(others[1].revents, 0);
  closer.join();
}

TEST(Wake, noticesTheEndOfThePeer) {
  Pair pair(Sleeper::Options{});
  std::thread closer([&] {
    awaitSleep(pair.word, Sleep::inPoll);
    pair.bells.second.release().reset();
  });
  EXPECT_EQ(pair.sleeper.wait([] { return false; }, {}, std::nullopt), Woken::peerGone);
  closer.join();
  // What it had published before its end is still worth more.
  EXPECT_EQ(pair.sleeper.wait([] { return true; }, {}, std::nullopt), Woken::ready);
}

TEST(Wake, tellsAWakerThatTheSleeperIsGone) {
  Pair pair(kPollOnly);
  pair.sleeper.arm();
  pair.bells.first.release().reset();
  EXPECT_FALSE(pair.waker.wake());
}

TEST(Wake, aSignalInterrupts) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  for (const auto& options : {kFutexOnly, kPollOnly}) {
    Pair pair(options);
    const pthread_t self = ::pthread_self();
    std::atomic<bool> done{false};
    std::thread signaller([&] {
      awaitSleep(pair.word, options.futexTime.count() != 0 ? Sleep::onFutex : Sleep::inPoll);
      // It may not sleep yet; then the signal does nothing, and another comes.
      while (!done.load()) {
        ::pthread_kill(self, SIGUSR1);
        std::this_thread::yield();
      }
    });
    EXPECT_EQ(pair.sleeper.wait([] { return false; }, {}, std::nullopt), Woken::interrupted);
    done.store(true);
    signaller.join();
  }
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

// A hostile waker, or an unlucky one: woken for nothing, again and again.
TEST(Wake, comesToPollHoweverOftenItIsWokenForNothing) {
  Pair pair(Sleeper::Options{});
  std::atomic<bool> done{false};
  std::thread waker([&] {
    while (!done.load()) static_cast<void>(pair.waker.wake());
  });
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  Fd(ends[1]).reset();
  std::array<pollfd, 1> others{{{.fd = reader.get(), .events = POLLIN, .revents = 0}}};
  EXPECT_EQ(pair.sleeper.wait([] { return false; }, others, std::nullopt), Woken::descriptor);
  done.store(true);
  waker.join();
}

TEST(Wake, aFullBellDoesNotBlockTheWaker) {
  Pair pair(kPollOnly);
  for (int i = 0; i < 100000; ++i) ASSERT_TRUE(pair.bells.second.ring());
  // Even if the sleeper has made its end of it blocking: the flag of the other end is another.
  pair.sleeper.arm();
  EXPECT_TRUE(pair.waker.wake());
  int drained = 0;
  pollfd polled{.fd = pair.bells.first.fd(), .events = POLLIN, .revents = 0};
  while (::poll(&polled, 1, 0) == 1 && drained < 100000) {
    EXPECT_TRUE(pair.sleeper.disarm());
    ++drained;
  }
  EXPECT_GT(drained, 1) << "taken in parts";
  EXPECT_LT(drained, 100000);
}

// Lost wake-ups hang this test: each side waits for ever.
TEST(Wake, handsOverBackAndForth) {
  for (const auto time : {microseconds(0), microseconds(50), microseconds(3'600'000'000)}) {
    const Sleeper::Options options{time};
    Pair toLeft(options);
    Pair toRight(options);
    std::atomic<int> turn{0};
    constexpr int kTurns = 4000;
    std::thread right([&] {
      for (int i = 1; i < kTurns; i += 2) {
        EXPECT_EQ(toRight.sleeper.wait([&] { return turn.load() == i; }, {}, std::nullopt), Woken::ready);
        turn.store(i + 1);
        EXPECT_TRUE(toLeft.waker.wake());
      }
    });
    for (int i = 0; i < kTurns; i += 2) {
      EXPECT_EQ(toLeft.sleeper.wait([&] { return turn.load() == i; }, {}, std::nullopt), Woken::ready);
      turn.store(i + 1);
      EXPECT_TRUE(toRight.waker.wake());
    }
    right.join();
  }
}

TEST(Spin, isNotTriedAgainWhereItWasInVain) {
  SpinPolicy spin(true);
  EXPECT_TRUE(spin.spin([] { return true; }));
  EXPECT_TRUE(spin.pays());
  EXPECT_FALSE(spin.spin([] { return false; }));
  EXPECT_FALSE(spin.pays());
  int looks = 0;
  EXPECT_FALSE(spin.spin([&] { return ++looks > 0; }));
  EXPECT_EQ(looks, 0);
  spin.slept(milliseconds(1));
  EXPECT_FALSE(spin.pays());
  spin.slept(microseconds(5));
  EXPECT_TRUE(spin.pays());
}

TEST(Spin, isNeverTriedOnOneProcessor) {
  SpinPolicy spin(false);
  EXPECT_FALSE(spin.spin([] { return true; }));
  spin.slept(microseconds(5));
  EXPECT_FALSE(spin.pays());
}

}  // namespace
}  // namespace baton::shm
