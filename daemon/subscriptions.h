// Who is told what: attached clients, batches, waiters, followers of events. Turns what happens to tasks into
// frames.
#pragma once

#include <list>
#include <unordered_map>

#include "daemon/dispatcher.h"
#include "daemon/server.h"

namespace baton::daemon {

class Subscriptions final : public TaskObserver {
 public:
  struct Parts {
    Registry& registry;
    Dispatcher& dispatcher;
    Pool& pool;
  };
  explicit Subscriptions(const Parts& parts)
      : registry_(parts.registry), dispatcher_(parts.dispatcher), pool_(parts.pool) {}
  void setServer(Server& server) { server_ = &server; }

  // The request stays open until its final reply; the client is blocked on it.
  void open(Session& session, RequestId request, bool waits);
  // Sends a request's final reply, once the task that the client is in has its slots.
  void finish(Session& session, RequestId request, std::unique_ptr<ipc::Message> message);

  // The session is told of the task's or batch's life, and the task or batch ends with it.
  void attach(Session& session, RequestId request, Task& task);
  void attach(Session& session, RequestId request, Batch& batch);

  struct Wait {
    std::vector<TaskId> tasks;           // keys, of those still to end
    std::vector<std::uint64_t> batches;  // numbers
    bool any = false;
    std::chrono::nanoseconds timeout{};  // negative: for ever
    struct Result {
      std::uint64_t number;
      std::uint32_t index;
    };
    std::vector<Result> all;  // what the reply lists, in the order asked for
    ipc::Charge charge;       // for all that
  };
  // Replies at once if there is nothing to wait for.
  void wait(Session& session, RequestId request, Wait wait, Loop& loop);
  // Replies `ok` when nothing is queued or runs any more.
  void waitUntilIdle(Session& session, RequestId request);

  void sessionClosed(Session& session);
  void sessionDrained(Session& session);
  // The session follows what happens to its uid's tasks from now on.
  void follow(Session& session, RequestId request, bool batchTasks);
  // A line of `events` that is about the daemon.
  void daemonEvent(const std::string& text);
  // A task or batch was accepted.
  void submitted(const Task& task);

  // TaskObserver
  void taskStarted(const Task& task) override;
  void taskStopped(const Task& task, int signal) override;
  void taskOutput(const Task& task, ipc::wire::Output::Reader output) override;
  void taskContinued(const Task& task) override;
  void taskChanged(const Task& task) override;
  void taskEnded(const Task& task) override;
  void batchEnded(const Batch& batch) override;
  void taskMayGoOn(TaskId task) override;
  void taskTooDeep(TaskId task) override;

 private:
  struct Attachment {
    SessionId session = 0;
    RequestId request = 0;
  };
  struct Waiter {
    SessionId session = 0;
    RequestId request = 0;
    std::size_t left = 0;
    Wait wait;
    Source timer;
  };
  using Waiters = std::list<Waiter>;

  void ended(std::unordered_multimap<std::uint64_t, Waiters::iterator>& index, std::uint64_t key);
  void conclude(Waiters::iterator waiter, bool timedOut);
  void forget(Waiters::iterator waiter);
  // To the client that the task is attached to.
  void tellItRuns(const Task& task);
  void event(ipc::wire::TaskEvent::Kind kind, const Task* task, const std::string& text);
  void sendEvent(Session& session, ipc::wire::TaskEvent::Kind kind, const Task* task,
                 const std::string& text);
  void release(Session& session, TaskId task);

  Registry& registry_;
  Dispatcher& dispatcher_;
  Pool& pool_;
  Server* server_ = nullptr;
  std::unordered_map<TaskId, Attachment> attachedTasks_;
  std::unordered_map<std::uint64_t, Attachment> attachedBatches_;
  Waiters waiters_;
  std::unordered_multimap<std::uint64_t, Waiters::iterator> waitersOfTask_;
  std::unordered_multimap<std::uint64_t, Waiters::iterator> waitersOfBatch_;
  std::vector<Attachment> untilIdle_;
  std::unordered_set<SessionId> eventSessions_;
};

}  // namespace baton::daemon
