// A queue that this process has open: what the verbs of `batonctl queue` share.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ctl/session.h"

namespace baton::ctl {

// How long put and get wait: -n, -w, -E.
struct WaitOptions {
  bool refuse = false;
  std::optional<std::chrono::nanoseconds> atMost;
  int busyCode = 1;

  void declare(Arguments& arguments, const char* forWhat);
  // Throws Error(usage) for both -n and -w.
  void check() const;
  std::uint64_t timeoutNs() const;
};

class QueueClient {
 public:
  // `create`: makes it, as it is by default, where it is absent; and starts the daemon for that.
  QueueClient(const CommonOptions& common, const std::string& name, bool create);

  ipc::Client& client() { return client_; }
  std::uint32_t handle() const { return handle_; }
  const std::string& name() const { return name_; }
  // The largest value that fits a frame with what is around it.
  std::size_t maxValueBytes() const { return maxValueBytes_; }

  struct NewMessage {
    std::vector<std::byte> value;
    std::int32_t priority = 0;
    std::uint64_t delayNs = 0;
  };
  struct PutResult {
    std::uint32_t accepted = 0;
    ipc::wire::QueueOutcome outcome;
  };
  PutResult put(const std::vector<NewMessage>& messages, std::uint64_t timeoutNs);

  struct Get {
    std::uint32_t max = 1;
    std::uint64_t timeoutNs = 0;
    bool lease = false;
    std::uint64_t leaseNs = 0;
    bool detached = false;
  };
  // Messages got without lease before this are said to be taken.
  ipc::ReceivedFrame get(const Get& get);
  std::uint64_t sendGet(const Get& get);
  // So many more of those got without lease are done with.
  void took(std::uint64_t count) { taken_ += count; }
  // Tells the daemon now; else the next get does.
  void sendTaken();

  void control(ipc::wire::QueueControl::Action action);
  using Action = ipc::wire::QueueSettle::Action;
  std::uint64_t sendSettle(const std::vector<std::uint64_t>& leases, Action action, std::uint64_t ns);

  // What a put or get that did not succeed exits with, and says.
  int codeOf(ipc::wire::QueueOutcome outcome, const WaitOptions& wait) const;

 private:
  // The daemon's own bound is 4 KiB below the frame's.
  static constexpr std::size_t kAroundValue = 4096;

  std::string name_;
  ipc::Client client_;
  std::size_t maxValueBytes_ = 0;
  std::uint32_t handle_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t told_ = 0;
};

// Opens `name` as the verbs do; `fill` adds to the request.
ipc::ReceivedFrame openQueue(ipc::Client& client, const std::string& name,
                             const std::function<void(ipc::wire::QueueOpen::Builder)>& fill = {});

// The queue's name, which is the first word of each verb. Throws Error(usage).
const std::string& queueName(const Arguments& arguments, const char* verb);

}  // namespace baton::ctl
