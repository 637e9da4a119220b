// Shared memory whose every read returns something else: a hostile peer that changes it between any two
// looks. A side of a ring, and the daemon's side of a lock word, stay within their bounds and return. What is
// read twice instead of once is read differently here, so a check of one and a use of the other ends in a
// fault.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "shm/lock_word.h"
#include "shm/ring.h"
#include "shm/wake_word.h"
#include "tests/fuzz/target.h"

namespace {

using namespace baton::shm;

// The input, read from its beginning; zeros behind its end.
class Stream {
 public:
  explicit Stream(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool ended() const { return at_ >= bytes_.size(); }
  std::uint8_t byte() { return ended() ? 0 : bytes_[at_++]; }
  std::uint64_t number(int sizeBytes) {
    std::uint64_t value = 0;
    for (int i = 0; i < sizeBytes; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

// What is read: what is there, something near it, or anything.
Stream* lies = nullptr;

template <class T>
T lied(T truth) {
  if (lies == nullptr) return truth;
  const std::uint8_t how = lies->byte();
  if (how < 96) return truth;
  if (how < 160) return static_cast<T>(truth + static_cast<T>(how) - 128);
  if (how < 224) return static_cast<T>(truth + 8 * (static_cast<T>(lies->number(2)) - 32768));
  return static_cast<T>(lies->number(sizeof(T)));
}

struct LyingWords : DirectWords {
  template <class T>
  static T load(const std::atomic<T>& word, std::memory_order order) {
    return lied(word.load(order));
  }
  template <class T>
  static T exchange(std::atomic<T>& word, T value, std::memory_order order) {
    return lied(word.exchange(value, order));
  }
  template <class T>
  static T fetchOr(std::atomic<T>& word, T bits, std::memory_order order) {
    return lied(word.fetch_or(bits, order));
  }
  template <class T>
  static bool compareExchange(std::atomic<T>& word, T& expected, T desired, std::memory_order order) {
    word.store(lied(word.load()));
    return word.compare_exchange_strong(expected, desired, order);
  }
  static std::uint64_t loadBytes(const std::byte* at) { return lied(DirectWords::loadBytes(at)); }
};

class Session {
 public:
  explicit Session(Stream& input) : input_(input) { restart(); }

  void turn() {
    lies = &input_;
    try {
      act();
    } catch (const CorruptRing&) {
      restart();
    }
    lies = nullptr;
  }

 private:
  using Producer = BasicRingProducer<LyingWords>;
  using Consumer = BasicRingConsumer<LyingWords>;
  static constexpr std::size_t kSize = kMinRingBytes;

  void restart() {
    lies = nullptr;
    // Of exactly this size, so that the address sanitizer sees a byte beyond.
    buffer_ = std::make_unique<std::uint64_t[]>(kSize / 8);
    control_ = std::make_unique<Producer::Control>();
    const auto bytes = std::as_writable_bytes(std::span(buffer_.get(), kSize / 8));
    producer_ = std::make_unique<Producer>(*control_, bytes);
    consumer_ = std::make_unique<Consumer>(*control_, bytes);
  }

  void act() {
    switch (input_.byte() % 8) {
      case 0:
      case 1:
        write();
        break;
      case 2:
        producer_->publish();
        break;
      case 3:
      case 4:
        read();
        break;
      case 5:
        consumer_->release();
        check(consumer_->unreleased() == 0);
        break;
      case 6:
        check(producer_->passed() <= producer_->position() && producer_->freeBytes() <= kSize);
        break;
      default:
        scribble();
    }
  }

  void write() {
    const std::size_t size = input_.number(2) % (producer_->maxRecord() + 1);
    const auto room = producer_->tryReserve(size);
    if (!room) return;
    check(room->size() == size && isInside(*room));
    std::memset(room->data(), 0xa5, size);
    producer_->commit(size / (1 + input_.byte() % 2), input_.byte() % 2 != 0);
  }

  void read() {
    const auto record = consumer_->tryPeek();
    if (!record) return;
    check(isInside(record->bytes));
    copy_.resize(record->bytes.size());
    Consumer::copyOut(*record, copy_);
    const std::uint64_t before = consumer_->position();
    consumer_->consume();
    check(consumer_->position() - before == recordSpaceBytes(copy_.size()));
    check(consumer_->unreleased() <= kSize);
  }

  // As a peer does that maps it.
  void scribble() {
    const std::uint64_t value = input_.number(8);
    switch (input_.byte() % 3) {
      case 0:
        control_->written.store(value);
        break;
      case 1:
        control_->read.store(value);
        break;
      default:
        buffer_[input_.number(2) % (kSize / 8)] = value;
    }
  }

  bool isInside(std::span<const std::byte> bytes) const {
    const auto* const begin = reinterpret_cast<const std::byte*>(buffer_.get());
    return bytes.data() >= begin && bytes.data() + bytes.size() <= begin + kSize;
  }
  static void check(bool holds) {
    if (!holds) std::abort();
  }

  Stream& input_;
  std::unique_ptr<std::uint64_t[]> buffer_;
  std::unique_ptr<Producer::Control> control_;
  std::unique_ptr<Producer> producer_;
  std::unique_ptr<Consumer> consumer_;
  std::vector<std::byte> copy_;
};

// The daemon's calls, each of which must end, and what they say must be of the word.
void recallLyingLock(Stream& input) {
  lies = &input;
  BasicLockWord<LyingWords> word;
  word.grant(static_cast<LockState>(input.byte() % 4), static_cast<ThreadIndex>(input.number(3)), 1);
  static_cast<void>(word.recall());
  static_cast<void>(word.takeBackGrant());
  if (static_cast<unsigned>(word.inspect().state) > 3) std::abort();
  BasicWakeWord<LyingWords> wake;
  wake.prepare(static_cast<Sleep>(input.byte()));
  if (static_cast<unsigned>(wake.claim()) > 2) std::abort();
  lies = nullptr;
}

}  // namespace

void fuzzOne(std::span<const std::uint8_t> bytes) {
  Stream input(bytes);
  recallLyingLock(input);
  Session session(input);
  while (!input.ended()) session.turn();
}
