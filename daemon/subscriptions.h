// Who is told what: attached clients, batches, waiters, followers of events. Turns what happens to tasks into
// frames.
#pragma once

#include <map>
#include <set>
#include <unordered_map>

#include "daemon/chores.h"
#include "daemon/dispatcher.h"
#include "daemon/server.h"

namespace baton::daemon {

class Subscriptions final : public TaskObserver {
 public:
  struct Parts {
    Registry& registry;
    Dispatcher& dispatcher;
    Pool& pool;
    Chores& chores;
  };
  explicit Subscriptions(const Parts& parts)
      : registry_(parts.registry), dispatcher_(parts.dispatcher), pool_(parts.pool), chores_(parts.chores) {}
  void setServer(Server& server) { server_ = &server; }

  // The request stays open until its final reply; the client is blocked on it.
  void open(Session& session, RequestId request, bool waits);
  // Sends a request's final reply, once the task that the client is in has its slots.
  void finish(Session& session, RequestId request, std::unique_ptr<ipc::Message> message);

  // The session is told of the task's or batch's life, and the task or batch ends with it.
  void attach(Session& session, RequestId request, Task& task);
  void attach(Session& session, RequestId request, Batch& batch);

  using WaiterId = std::uint64_t;
  // A `wait` is put together piece by piece, and then replies when all of it (`any`: one) has ended. Those
  // functions take no notice of a waiter whose session has gone.
  WaiterId beginWait(Session& session, RequestId request, bool any);
  // Throws Error(quota).
  void alsoFor(WaiterId id, const Registry::Entry& entry, std::uint32_t index);
  // It is complete. Negative timeout: for ever; 0: look only.
  void wait(WaiterId id, std::chrono::nanoseconds timeout, Loop& loop);
  // No reply.
  void giveUp(WaiterId id);
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
    WaiterId id = 0;
    SessionId session = 0;
    RequestId request = 0;
    bool any = false;
    bool complete = false;
    ipc::Charge charge;    // for all that it holds
    std::size_t left = 0;  // of them that have not ended
    // {number, index}: what the reply lists, in the order asked for; each once.
    std::vector<std::pair<std::uint64_t, std::uint32_t>> all;
    std::set<std::pair<std::uint64_t, std::uint32_t>> seen;
    std::vector<TaskId> tasks;           // keys, under which it is in waitersOfTask_
    std::vector<std::uint64_t> batches;  // numbers, likewise
    Source timer;
  };
  using WaitIndex = std::multimap<std::uint64_t, WaiterId>;
  struct Conclusion;

  static void chargeFor(Waiter& waiter, std::size_t ids);
  void ended(WaitIndex& index, std::uint64_t key);
  void conclude(WaiterId id, bool timedOut);
  bool concludeSome(Conclusion& conclusion);
  void writeConclusion(const Conclusion& conclusion, Uid uid, ipc::Message& message) const;
  // A step of forgetting that it waits. False: it is forgotten.
  bool unindexSome(Waiter& waiter);
  // To the client that the task is attached to.
  void tellItRuns(const Task& task);
  void event(ipc::wire::TaskEvent::Kind kind, const Task* task, const std::string& text);
  void sendEvent(Session& session, ipc::wire::TaskEvent::Kind kind, const Task* task,
                 const std::string& text);
  void release(Session& session, TaskId task);
  void cancelAttached(Session& session);
  void cancelForClient(Task& task);
  void abandonBatch(Batch& batch);

  Registry& registry_;
  Dispatcher& dispatcher_;
  Pool& pool_;
  Chores& chores_;
  Server* server_ = nullptr;
  std::unordered_map<TaskId, Attachment> attachedTasks_;
  std::unordered_map<std::uint64_t, Attachment> attachedBatches_;
  std::map<WaiterId, Waiter> waiters_;
  WaiterId lastWaiter_ = 0;
  WaitIndex waitersOfTask_;  // by key
  WaitIndex waitersOfBatch_;
  std::vector<Attachment> untilIdle_;
  std::unordered_set<SessionId> eventSessions_;
};

}  // namespace baton::daemon
