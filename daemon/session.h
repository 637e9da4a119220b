// One connected client: its connection, and what has been promised to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "daemon/loop.h"
#include "daemon/scheduler_types.h"
#include "ipc/connection.h"

namespace baton::daemon {

using SessionId = std::uint64_t;
using RequestId = std::uint64_t;

// Beyond this nothing more is read from the client, and events are dropped.
constexpr std::size_t kMaxUnsentBytes = std::size_t{256} << 10;

struct Session {
  SessionId id = 0;
  Uid uid = 0;
  std::int32_t pid = 0;     // to be shown only
  std::vector<Gid> groups;  // its own first
  std::string program;
  bool greeted = false;  // hello came
  bool closing = false;  // close when all is sent
  bool dirty = false;
  bool stalled = false;                        // frames of it wait until it has read what was sent to it
  bool starved = false;                        // its next frame waits for room in the budget
  bool busy = false;                           // frames of it wait until a long request of it is done
  TaskId inside = 0;                           // the task in whose tree the client is; 0: none
  std::unordered_set<RequestId> open;          // requests without their final reply
  std::unordered_set<RequestId> waiting;       // of these, what the client is blocked on
  std::unordered_set<TaskId> attached;         // tasks that end with this session
  std::map<std::uint64_t, RequestId> batches;  // opened by it, by number
  std::unordered_set<TaskId> heldOutput;       // tasks whose output waits for this client
  std::vector<std::unique_ptr<ipc::Message>> withheld;  // final replies, until the task has its slots again
  RequestId events = 0;                                 // request of `events`; 0: none
  bool eventsOfBatches = false;
  std::uint64_t missedEvents = 0;
  std::shared_ptr<ipc::Budget> budget;       // its uid's, for bytes in flight
  std::shared_ptr<ipc::Budget> waits;        // its uid's, for what it waits for
  std::shared_ptr<ipc::Budget> descriptors;  // its uid's, for parcels that wait
  ipc::Charge unsent;                        // what it has not read yet, if that is much
  std::chrono::nanoseconds movedAt{};        // when a byte went in or out last
  std::uint32_t lastHandle = 0;              // of queues, locks and the like
  std::unique_ptr<ipc::Connection> connection;
  Source source;

  // With rings.
  Source bell;  // rung by the client
  ipc::Charge ringBytes;
  bool toArm = false;  // its client may sleep, or find nothing, and must ring
  bool deaf = false;   // it rang too often for nothing, and is not heard for a while
  unsigned idleRings = 0;
  std::chrono::nanoseconds idleRingsSince{};
  std::chrono::nanoseconds earlySince{};  // a frame came before its turn; 0: none
};

}  // namespace baton::daemon
