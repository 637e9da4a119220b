// Where every change of a task is recorded. The one implementation so far keeps nothing; a durable one fits
// behind the same interface, since every reply that promises something waits for `done`.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "ipc/baton.capnp.h"

namespace baton::daemon {

// One change. Holds no descriptor, pid or pointer to a record; the views are valid during the call only.
struct Record {
  enum class Kind { submitted, batchOpened, batchClosed, state, forgotten };
  Kind kind = Kind::state;
  std::uint64_t id = 0;     // of the task or batch
  std::uint32_t index = 0;  // of the batch's task
  std::uint32_t uid = 0;
  ipc::wire::State state = ipc::wire::State::QUEUED;
  ipc::wire::Cause cause = ipc::wire::Cause::NONE;
  int exitCode = 0;
  int signal = 0;
  std::uint16_t attempt = 0;
  std::string_view argv;  // words, each followed by NUL
  std::uint64_t contextHash = 0;
  std::uint64_t timeNs = 0;  // calendar
};

class Store {
 public:
  virtual ~Store() = default;
  // Records it, then calls `done`, now or later, in the order of the calls. A store that fails for good ends
  // the daemon; it never calls `done` for what it has not kept.
  virtual void append(const Record& record, std::function<void()> done) = 0;
};

class NullStore final : public Store {
 public:
  void append(const Record&, std::function<void()> done) override {
    if (done) done();
  }
};

}  // namespace baton::daemon
