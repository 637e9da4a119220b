// The messages of all queues as pieces of memory: each is one allocation, its bytes behind its head, charged
// to an account before it is made. Single-threaded; must outlive every message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

// What a uid's messages take.
struct MessageAccount {
  std::uint64_t bytes = 0;
};

struct QueueUser;

// Owned by the queue that it is in, or by whoever made it until then.
struct QueueMessage {
  QueueMessage* next = nullptr;  // in a MessageList
  QueueMessage* previous = nullptr;
  std::uint64_t id = 0;     // in its queue, in the order of puts
  std::uint64_t lease = 0;  // 0: none
  Time put{0};
  Time due{0};                  // while delayed: when it is ready; while leased: when that ends
  Time handed{0};               // to its present holder
  QueueUser* holder = nullptr;  // who has it; nullptr: the queue, or a lease of nobody's
  MessageAccount* account = nullptr;
  std::uint32_t size = 0;
  std::uint32_t attempt = 0;  // deliveries so far
  std::int32_t priority = 0;

  const std::byte* bytes() const { return reinterpret_cast<const std::byte*>(this + 1); }
  std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
  std::span<const std::byte> value() const { return {bytes(), size}; }
};

// Messages in the order of their coming; does not own them.
class MessageList {
 public:
  bool empty() const { return first_ == nullptr; }
  std::size_t size() const { return size_; }
  QueueMessage* front() const { return first_; }  // NOLINT(clang-analyzer-unix.Malloc): taken out before
  void pushBack(QueueMessage& message);
  void remove(QueueMessage& message);

 private:
  QueueMessage* first_ = nullptr;
  QueueMessage* last_ = nullptr;
  std::size_t size_ = 0;
};

class MessageStore {
 public:
  // `limit`: bytes of an account.
  explicit MessageStore(std::uint64_t limit) : limit_(limit) {}
  MessageStore(const MessageStore&) = delete;
  MessageStore& operator=(const MessageStore&) = delete;

  void setLimit(std::uint64_t limit) { limit_ = limit; }
  std::uint64_t limit() const { return limit_; }
  // What a message of so many bytes is charged.
  static std::uint64_t cost(std::size_t bytes);

  // A message with these bytes; nullptr: the account has no room for it.
  [[nodiscard]] QueueMessage* make(MessageAccount& account, std::span<const std::byte> value);
  void free(QueueMessage* message);

  // Of all accounts.
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t count() const { return count_; }

 private:
  std::uint64_t limit_;
  std::uint64_t bytes_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace baton::daemon
