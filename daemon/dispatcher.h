// Moves tasks along their states. Everything that changes a task goes through here: it tells the Registry
// what is so, the Store what happened, the Scheduler what may start, the Pool what to do, and observers the
// rest.
//
//   submit ──► Store ──► Scheduler ──► Pool ──► worker
//                            ▲            │
//                            └── end ◄────┘ taskEnded
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "daemon/held_parcel.h"
#include "daemon/pipelines.h"
#include "daemon/pool.h"
#include "daemon/registry.h"
#include "daemon/scheduler.h"
#include "daemon/store.h"

namespace baton::daemon {

// What happens to tasks, for those who pass it on. Called with valid records; a task may be dropped after
// taskEnded returns.
class TaskObserver {
 public:
  virtual ~TaskObserver() = default;
  virtual void taskStarted(const Task& task) = 0;
  virtual void taskStopped(const Task& task, int signal) = 0;
  virtual void taskOutput(const Task& task, ipc::wire::Output::Reader output) = 0;
  // It goes on after a stop, with its slots.
  virtual void taskContinued(const Task& task) = 0;
  // Held, released, requeued.
  virtual void taskChanged(const Task& task) = 0;
  virtual void taskEnded(const Task& task) = 0;
  virtual void batchEnded(const Batch& batch) = 0;
  // A task that waited has its slots again (or never gave them back): who waits for it may go on.
  virtual void taskMayGoOn(TaskId task) = 0;
  // It cannot wait: too many wait already.
  virtual void taskTooDeep(TaskId task) = 0;
};

class Dispatcher final : public PoolEvents {
 public:
  struct Parts {
    Loop& loop;
    Registry& registry;
    Scheduler& scheduler;
    Pool& pool;
    Store& store;
  };
  explicit Dispatcher(const Parts& parts);
  void setObserver(TaskObserver& observer) { observer_ = &observer; }

  // A complete new record: is queued, or held. `parcel`: kept for its first attempt. `recorded` is called
  // when the store has it.
  void submit(Task& task, HeldParcel parcel, std::function<void()> recorded);
  void openBatch(Batch& batch, std::function<void()> recorded);
  // No more tasks will be added; ends the batch if all have ended.
  void closeBatch(Batch& batch);

  // The ladder TERM, grace, KILL; a task that does not run ends at once. No-op for one that has ended.
  void cancel(Task& task, std::chrono::nanoseconds grace, Cause cause, const std::string& reason);
  void signal(Task& task, int signal, bool mainOnly);
  // Queued to held and back. False: it is not in that state.
  [[nodiscard]] bool hold(Task& task);
  [[nodiscard]] bool release(Task& task);
  // A stopped task takes its slot again and goes on.
  void continueStopped(Task& task, bool foreground);

  // Something inside the task waits for baton; balanced by endWait. After a short while its slots are given
  // back (TaskObserver::taskTooDeep when that cannot be).
  void beginWait(Task& task);
  // True: it may go on at once. False: taskMayGoOn will say when.
  [[nodiscard]] bool endWait(TaskId task);
  // The task, if `value` is the BATON_TASK of a running one.
  Task* taskInside(std::string_view value, Uid uid);

  // Starts what may start. Called after every change. Of very many the rest starts in later turns.
  void dispatch();
  // Nothing is started until the last of these has gone: what is about to be cancelled shall not start first.
  [[nodiscard]] std::shared_ptr<void> pauseStarts();
  // Nothing is started any more.
  void freeze() { frozen_ = true; }

  std::size_t parked() const { return scheduler_.parked(); }

  // PoolEvents
  void taskStarted(TaskId task, std::int32_t pid) override;
  void taskStopped(TaskId task, int signal) override;
  void taskOutput(TaskId task, ipc::wire::Output::Reader output) override;
  void taskSampled(TaskId task, std::uint64_t cpuNs, bool asleep) override;
  void taskEnded(TaskId task, Outcome outcome) override;
  void taskLost(TaskId task, bool started, const std::string& how,
                std::vector<std::int32_t> escaped) override;
  void poolHasRoom() override;

 private:
  enum class Timer { queueLimit, requeue };
  struct Waiting {
    unsigned count = 0;      // requests inside the task that wait
    bool returning = false;  // no more; it wants its slots back
    std::optional<std::uint64_t> cpuNs;
    std::chrono::nanoseconds sampledAt{};
    std::chrono::nanoseconds due{};  // when it is looked at next
  };
  void enqueue(Task& task);
  void begin(Task& task, const Start& start);
  void resumed(Task& task);
  void finish(Task& task, Outcome outcome);
  void requeue(Task& task, std::chrono::nanoseconds delay);
  void record(const Task& task, Record::Kind kind, std::function<void()> done);
  void after(std::chrono::nanoseconds delay, TaskId task, Timer kind);
  void timers();
  void armTimer();
  void parkingTimer();
  void watchWaiting(std::chrono::nanoseconds at);
  void park(Task& task);
  void setParked(Task& task, bool parked);
  void pipelineChanged(const Pipelines::Change& change);

  Loop& loop_;
  Registry& registry_;
  Scheduler& scheduler_;
  Pool& pool_;
  Store& store_;
  TaskObserver* observer_ = nullptr;
  bool frozen_ = false;
  unsigned pauses_ = 0;
  bool dispatching_ = false;
  std::unordered_map<TaskId, HeldParcel> parcels_;
  std::unordered_map<TaskId, Waiting> waiting_;
  Pipelines pipelines_;
  std::unordered_map<TaskId, bool> toContinue_;  // stopped ones that wait for a slot -> foreground
  std::unordered_set<TaskId> delayed_;           // queued, but not before a back-off is over
  std::multimap<std::chrono::nanoseconds, std::pair<TaskId, Timer>> due_;
  Source again_;  // dispatch() has more to start
  Source dueTimer_;
  Source parkingTimer_;
  std::optional<std::chrono::nanoseconds> parkingAt_;  // what parkingTimer_ is armed for
};

}  // namespace baton::daemon
