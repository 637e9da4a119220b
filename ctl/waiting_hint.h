// What a verb that waits tells a person at a terminal after a second: for what. One line on stderr, rewritten
// in place, gone when the waiting ends. It asks the daemon over the caller's own connection:
//
//   WaitingHint hint(client, {{12, 0}});
//   while (waiting) {
//     auto frame = client.receive(hint.timeout());
//     if (!frame) { hint.ask(); continue; }
//     if (hint.take(frame->get())) continue;
//     ...
//   }
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ctl/selection.h"
#include "ipc/client.h"

namespace baton::ctl {

class WaitingHint {
 public:
  // For these tasks and batches; none: for all of this uid that have not ended. Silent for good where stderr
  // is no terminal. `client` must outlive it.
  WaitingHint(ipc::Client& client, std::vector<TaskRef> tasks);
  ~WaitingHint() { clear(); }
  WaitingHint(const WaitingHint&) = delete;
  WaitingHint& operator=(const WaitingHint&) = delete;

  // How long to wait for a frame before ask() is due; nullopt: for ever.
  std::optional<std::chrono::milliseconds> timeout() const;
  // Asks the daemon if it is due. Does not wait.
  void ask();
  // True: `frame` was the answer to ask(), also an error; the line is shown.
  bool take(ipc::wire::Frame::Reader frame);
  // Erases the line, if one is shown. More may be shown later.
  void clear();
  // Erases the line and shows no more: what was waited for has begun.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  // Asks for the row of what is waited for, then, if that is a task in the queue, for the reason.
  void askForRow();
  void takeRow(ipc::wire::Frame::Reader frame);
  void takeReason(ipc::wire::Frame::Reader frame);
  void show(const std::string& line);

  ipc::Client& client_;
  std::vector<TaskRef> tasks_;
  bool enabled_;
  Clock::time_point next_;
  std::size_t first_ = 0;        // of tasks_; those before it have ended
  std::uint64_t asked_ = 0;      // id of the request under way
  bool askedForReason_ = false;  // what kind it is
  std::string subject_;
  std::string shown_;
};

}  // namespace baton::ctl
