// What one user's bytes in flight are counted against, so that all connections of a user together take a
// bounded amount of the daemon's memory. Single-threaded.
//
// 1. A charge counts against its budget as long as it lives, and gives back by itself.
// 2. `tryRaise` never takes a budget past its limit; `set` may, for what must not be refused.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace baton::ipc {

class Budget {
 public:
  explicit Budget(std::size_t limitBytes) : limit_(limitBytes) {}

  std::size_t used() const { return used_; }
  std::size_t limit() const { return limit_; }
  bool over() const { return used_ > limit_; }
  // Lower than what is used: nothing more is charged until that has sunk.
  void setLimit(std::size_t limitBytes) { limit_ = limitBytes; }

 private:
  friend class Charge;
  std::size_t limit_;
  std::size_t used_ = 0;
};

class Charge {
 public:
  // Of no budget: any amount.
  Charge() = default;
  explicit Charge(std::shared_ptr<Budget> budget) : budget_(std::move(budget)) {}
  Charge(Charge&& other) noexcept
      : budget_(std::move(other.budget_)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() { set(0); }

  std::size_t bytes() const { return bytes_; }
  // False: there is no room for that many in all, and nothing has changed.
  [[nodiscard]] bool tryRaise(std::size_t bytes) {
    if (budget_ && bytes > bytes_ && budget_->used_ + (bytes - bytes_) > budget_->limit_) return false;
    set(bytes);
    return true;
  }
  void set(std::size_t bytes) {
    if (budget_) budget_->used_ += bytes - bytes_;
    bytes_ = bytes;
  }
  // What is charged goes on in the charge returned.
  Charge take() {
    Charge taken;
    taken.budget_ = budget_;
    taken.bytes_ = std::exchange(bytes_, 0);
    return taken;
  }

 private:
  std::shared_ptr<Budget> budget_;
  std::size_t bytes_ = 0;
};

}  // namespace baton::ipc
