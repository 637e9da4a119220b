// What clients ask for: one short function per request, each a translation between frames and the parts of
// the daemon. Also the sessions' end.
#pragma once

#include "daemon/chores.h"
#include "daemon/control.h"
#include "daemon/object_requests.h"
#include "daemon/subscriptions.h"
#include "daemon/sweep.h"

namespace baton::daemon {

class Requests final : public RequestHandler {
 public:
  struct Parts {
    Loop& loop;
    Registry& registry;
    Scheduler& scheduler;
    Dispatcher& dispatcher;
    Pool& pool;
    ContextTable& contexts;
    LogStore& logs;
    Closer& closer;
    Subscriptions& subscriptions;
    Control& control;
    Chores& chores;
    ObjectDispatch& objects;
  };
  explicit Requests(const Parts& parts) : parts_(parts) {}
  void setServer(Server& server) { server_ = &server; }

  void handle(Session& session, ipc::ReceivedFrame& frame) override;
  void closed(Session& session) override;
  void drained(Session& session) override { parts_.subscriptions.sessionDrained(session); }

 private:
  using Frame = ipc::wire::Frame::Reader;
  struct Target {
    Task* task = nullptr;  // one of them
    Batch* batch = nullptr;
  };
  // Where a long request's answer goes: the session may end meanwhile.
  struct Asker {
    SessionId session = 0;
    RequestId request = 0;
    Uid uid = 0;
  };
  static Asker askerOf(const Session& session, RequestId request) {
    return {session.id, request, session.uid};
  }
  struct Adding;
  struct Retrying;
  struct Explaining;
  using Visit = std::function<void(Task&)>;

  // requests_submit.cc
  void hello(Session& session, RequestId request, ipc::wire::Hello::Reader hello);
  void submit(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  void openBatch(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  void addTasks(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  bool addSome(Adding& adding);
  bool retrySome(Retrying& retrying);
  void retry(Session& session, RequestId request, ipc::wire::Selection::Reader selection);
  std::shared_ptr<const TaskOptions> optionsOf(ipc::wire::TaskOptions::Reader asked) const;
  std::shared_ptr<const Context> contextOf(ipc::wire::ContextSource::Reader source,
                                           std::vector<shm::Fd>& fds);
  HeldParcel takeParcel(const Session& session, const TaskOptions& options, std::vector<shm::Fd>& fds);
  // Throws if so many tasks more, whose records take so many bytes, are not to be taken.
  void checkRoom(Uid uid, std::uint64_t tasks, std::uint64_t bytes) const;
  // Counts them as there, until they are or the object ends.
  class Room;

  // requests_query.cc
  void list(Session& session, RequestId request, ipc::wire::ListRequest::Reader listing);
  void listBatch(Session& session, RequestId request, ipc::wire::ListRequest::Reader listing);
  void show(Session& session, RequestId request, ipc::wire::Selection::Reader selection);
  void explain(Session& session, RequestId request, ipc::wire::Selection::Reader selection);
  bool explainSome(Explaining& explaining);
  std::vector<std::string> holdersFor(Uid uid) const;
  std::vector<std::string> explanationOf(const Task& task, const std::vector<std::string>& holders,
                                         std::size_t ahead) const;
  void wait(Session& session, RequestId request, ipc::wire::WaitRequest::Reader wait);
  void logs(Session& session, RequestId request, ipc::wire::TaskRef::Reader ref);
  void status(Session& session, RequestId request);
  void workers(Session& session, RequestId request);
  void config(Session& session, RequestId request);

  // requests_control.cc
  void cancel(Session& session, RequestId request, ipc::wire::CancelRequest::Reader cancel);
  void kill(Session& session, RequestId request, ipc::wire::KillRequest::Reader kill);
  void hold(Session& session, RequestId request, ipc::wire::Selection::Reader selection);
  void release(Session& session, RequestId request, ipc::wire::Selection::Reader selection);
  void drain(Session& session, RequestId request, bool wait);
  void reload(Session& session, RequestId request);
  void continueTask(Session& session, RequestId request, ipc::wire::Continue::Reader order);

  // requests.cc
  bool handleTasks(Session& session, RequestId request, ipc::ReceivedFrame& frame);
  bool handleQueries(Session& session, RequestId request, Frame frame);
  bool handleControl(Session& session, RequestId request, Frame frame);
  void ok(Session& session, RequestId request);
  void reply(Session& session, RequestId request, ipc::Message& message);
  // As ok and reply, to one who may have gone.
  void ok(const Asker& asker);
  void reply(const Asker& asker, ipc::Message& message);
  void refuse(const Asker& asker, const Error& error);
  // A long request: its first slice is done at once; until the last the session's next frames wait. What a
  // step throws is the answer.
  void work(Session& session, RequestId request, Chores::Step step);
  // Visits the tasks of a selection in slices, then calls `finish`.
  void sweep(Session& session, RequestId request, Sweep sweep, Visit visit, std::function<void()> finish);
  // Throws Error(unknownId) that names the first reference to nothing of this uid's.
  Target resolve(const Session& session, ipc::wire::TaskRef::Reader ref);

  Parts parts_;
  Server* server_ = nullptr;
  std::map<Uid, std::uint64_t> reserved_;  // tasks that long requests are about to add
};

}  // namespace baton::daemon
