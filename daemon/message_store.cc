#include "daemon/message_store.h"

#include <cstring>
#include <new>

namespace baton::daemon {
void MessageList::pushBack(QueueMessage& message) {
  message.previous = last_;
  message.next = nullptr;
  (last_ == nullptr ? first_ : last_->next) = &message;
  last_ = &message;
  ++size_;
}

void MessageList::remove(QueueMessage& message) {
  (message.previous == nullptr ? first_ : message.previous->next) = message.next;
  (message.next == nullptr ? last_ : message.next->previous) = message.previous;
  message.next = message.previous = nullptr;
  --size_;
}

std::uint64_t MessageStore::cost(std::size_t bytes) {
  // Its place in the queue, and what the allocator adds.
  constexpr std::size_t kBesides = 32;
  return sizeof(QueueMessage) + bytes + kBesides;
}

QueueMessage* MessageStore::make(MessageAccount& account, std::span<const std::byte> value) {
  const std::uint64_t charge = cost(value.size());
  if (charge > limit_ || account.bytes > limit_ - charge) return nullptr;
  auto* message = new (::operator new(sizeof(QueueMessage) + value.size())) QueueMessage;
  if (!value.empty()) std::memcpy(message->bytes(), value.data(), value.size());
  message->size = static_cast<std::uint32_t>(value.size());
  message->account = &account;
  account.bytes += charge;
  bytes_ += charge;
  ++count_;
  return message;
}

void MessageStore::free(QueueMessage* message) {
  const std::uint64_t charge = cost(message->size);
  message->account->bytes -= charge;
  bytes_ -= charge;
  --count_;
  message->~QueueMessage();
  ::operator delete(message);
}

}  // namespace baton::daemon
