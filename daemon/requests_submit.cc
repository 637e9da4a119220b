// Requests that make tasks.
#include <capnp/serialize.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "daemon/assign.h"
#include "daemon/requests.h"
#include "ipc/error.h"
#include "ipc/units.h"
#include "shm/memfd.h"

namespace baton::daemon {
namespace {

constexpr std::size_t kMaxProgramBytes = 256;

// Of a long request: each takes a microsecond or two.
constexpr std::size_t kTasksPerStep = 32;

[[noreturn]] void refuseBatch(std::uint64_t number) {
  throw Error(Code::unknownId, "no open batch " + std::to_string(number) + " of this connection");
}

void checkRetry(const Task& task) {
  if (!isEnd(task.state)) {
    throw Error(Code::refused, "task " + labelOf(task) + " has not ended; only ended ones are tried again");
  }
  if (task.options->output != OutputMode::LOG) {
    throw Error(Code::refused,
                "task " + labelOf(task) + " ran for a client that waited; run it again from there");
  }
}

bool isParcel(int fd) {
  int type = 0;
  socklen_t size = sizeof(type);
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

std::unique_ptr<PipeEnds> readPipes(ipc::wire::Pipes::Reader pipes) {
  const PipeEnds ends{pipes.getStdin(), {pipes.getStdout(), pipes.getStderr()}};
  return ends.any() ? std::make_unique<PipeEnds>(ends) : nullptr;
}

}  // namespace

class Requests::Room {
 public:
  Room(Requests& requests, Uid uid) : reserved_(requests.reserved_[uid]) {}
  Room(Room&& other) noexcept : reserved_(other.reserved_), count_(std::exchange(other.count_, 0)) {}
  Room& operator=(Room&&) = delete;
  ~Room() { give(count_); }
  void reserve(std::uint64_t count) {
    count_ += count;
    reserved_ += count;
  }
  void give(std::uint64_t count) {
    count_ -= count;
    reserved_ -= count;
  }

 private:
  std::uint64_t& reserved_;
  std::uint64_t count_ = 0;
};

void Requests::hello(Session& session, RequestId request, ipc::wire::Hello::Reader hello) {
  if (session.greeted) throw Error(Code::protocol, "a second hello");
  if (hello.getMajor() != ipc::wire::VERSION_MAJOR) {
    session.closing = true;
    throw Error(Code::version, "this daemon speaks protocol version " +
                                   std::to_string(ipc::wire::VERSION_MAJOR) + "." +
                                   std::to_string(ipc::wire::VERSION_MINOR) + ", the client " +
                                   std::to_string(hello.getMajor()) + "." + std::to_string(hello.getMinor()));
  }
  session.greeted = true;
  session.program = std::string(hello.getProgram().cStr()).substr(0, kMaxProgramBytes);
  const auto inside = hello.getTask();
  if (const Task* task = parts_.dispatcher.taskInside({inside.cStr(), inside.size()}, session.uid)) {
    session.inside = task->key;
  }
  ipc::Message message;
  auto reply = message.frame().initHelloReply();
  reply.setMajor(ipc::wire::VERSION_MAJOR);
  reply.setMinor(ipc::wire::VERSION_MINOR);
  reply.setVersion(BATON_VERSION);
  reply.setSlots(parts_.scheduler.slots());
  reply.setPid(::getpid());
  reply.setMaxFrameBytes(static_cast<std::uint32_t>(parts_.control.config().values().frameBytes));
  reply.setIoTasks(static_cast<std::uint32_t>(parts_.control.config().values().ioTasks));
  this->reply(session, request, message);
}

void Requests::checkRoom(Uid uid, std::uint64_t tasks, std::uint64_t bytes) const {
  if (parts_.control.draining()) {
    throw Error(Code::refused, parts_.control.stopping() ? "the daemon is stopping and takes no new work"
                                                         : "the daemon is drained and takes no new work; "
                                                           "`batonctl resume` ends that");
  }
  const Config& config = parts_.control.config().values();
  const std::uint64_t limit = config.queueLimit;
  const auto reserved = reserved_.find(uid);
  const std::uint64_t there =
      parts_.registry.unfinished(uid) + (reserved == reserved_.end() ? 0 : reserved->second);
  if (there + tasks > limit) {
    throw Error(Code::quota, "more than " + std::to_string(limit) + " unfinished tasks (config queue_limit)");
  }
  if (parts_.registry.unfinishedBytes(uid) + bytes > config.argumentBytes) {
    throw Error(Code::quota, "the arguments of unfinished tasks take more than " +
                                 ipc::formatSize(config.argumentBytes) + " (config argument_bytes)");
  }
}

std::shared_ptr<const TaskOptions> Requests::optionsOf(ipc::wire::TaskOptions::Reader asked) const {
  const OptionBounds bounds{parts_.scheduler.slots(), parts_.control.config().values().grace};
  return std::make_shared<const TaskOptions>(readOptions(asked, bounds));
}

std::shared_ptr<const Context> Requests::contextOf(ipc::wire::ContextSource::Reader source,
                                                   std::vector<shm::Fd>& fds) {
  if (source.isInline()) return parts_.contexts.intern(source.getInline());
  if (!source.isMemfdBytes() || fds.empty()) throw Error(Code::usage, "a task needs a context");
  const std::uint64_t size = source.getMemfdBytes();
  if (size > kMaxContextBytes || size % sizeof(capnp::word) != 0) {
    throw Error(Code::tooLarge, "environment and arguments of a task take at most 2 MiB, not " +
                                    std::to_string(size) + " bytes");
  }
  shm::Fd fd = std::move(fds.front());
  fds.erase(fds.begin());
  const auto bytes = shm::readSealedMemfd(fd.get(), size);
  parts_.closer.close(std::move(fd));
  if (!bytes) throw Error(Code::usage, "the context's descriptor is no sealed memfd of the size told");
  auto words = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
  std::memcpy(words.begin(), bytes->data(), size);
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 8 * words.size() + 1024;
  options.nestingLimit = ipc::kMaxNesting;
  capnp::FlatArrayMessageReader message(words, options);
  return parts_.contexts.intern(message.getRoot<ipc::wire::Context>());
}

HeldParcel Requests::takeParcel(const Session& session, const TaskOptions& options,
                                std::vector<shm::Fd>& fds) {
  if (options.output != OutputMode::PARCEL) return {};
  if (fds.empty() || !isParcel(fds.front().get())) {
    throw Error(Code::usage, "a task whose output is a parcel needs the parcel");
  }
  ipc::Charge charge(session.descriptors);
  if (!charge.tryRaise(1)) {
    throw Error(Code::quota, "more than " + std::to_string(session.descriptors->limit()) +
                                 " tasks of yours wait with descriptors (config descriptors)");
  }
  HeldParcel parcel(std::move(fds.front()), std::move(charge), parts_.closer);
  fds.erase(fds.begin());
  return parcel;
}

void Requests::submit(Session& session, RequestId request, ipc::ReceivedFrame& frame) {
  const auto asked = frame.get().getSubmit();
  auto options = optionsOf(asked.getOptions());
  if (options->output == OutputMode::STREAM)
    throw Error(Code::usage, "only a batch's output can be streamed");
  std::string argv = joinWords(asked.getArgv());
  checkRoom(session.uid, 1, argv.size());
  HeldParcel parcel = takeParcel(session, *options, frame.fds);
  auto context = contextOf(asked.getContext(), frame.fds);
  const auto terminal = asked.getTerminal();
  auto pipes = readPipes(asked.getPipes());  // the last that may throw: nothing is half done
  parts_.subscriptions.open(session, request, asked.getAttached());
  Task& task = parts_.registry.addTask(session.uid, {options, context, std::move(argv)});
  task.terminals = terminal.getIsTerminal() & 7;
  task.foreground = terminal.getForeground();
  task.pipes = std::move(pipes);
  if (asked.getAttached()) parts_.subscriptions.attach(session, request, task);
  const std::string notice = asked.getAttached() ? "" : parts_.control.noticeOnce();
  parts_.dispatcher.submit(task, std::move(parcel), [this, id = session.id, request, key = task.key, notice] {
    const Task* known = parts_.registry.find(key);
    Session* client = server_->find(id);
    if (known == nullptr) return;
    parts_.subscriptions.submitted(*known);
    if (client == nullptr) return;
    if (!notice.empty()) {
      ipc::Message message;
      message.frame().setNotice(notice);
      reply(*client, request, message);
    }
    auto message = std::make_unique<ipc::Message>();
    if (known->attached) {
      message->frame().setAccepted(known->number);
      reply(*client, request, *message);
    } else {
      message->frame().setSubmitted(known->number);
      parts_.subscriptions.finish(*client, request, std::move(message));
    }
  });
  parts_.dispatcher.dispatch();
}

void Requests::openBatch(Session& session, RequestId request, ipc::ReceivedFrame& frame) {
  const auto asked = frame.get().getOpenBatch();
  checkRoom(session.uid, 0, 0);
  auto options = optionsOf(asked.getOptions());
  if (options->output == OutputMode::PARCEL) throw Error(Code::usage, "a batch's output cannot be a parcel");
  if (options->output == OutputMode::STREAM && !asked.getAttached()) {
    throw Error(Code::usage, "output can only be streamed to a client that is attached");
  }
  auto context = contextOf(asked.getContext(), frame.fds);
  parts_.subscriptions.open(session, request, true);
  Batch& batch = parts_.registry.addBatch(session.uid);
  batch.options = options;
  batch.context = context;
  batch.attached = asked.getAttached();
  parts_.subscriptions.attach(session, request, batch);
  parts_.dispatcher.openBatch(batch, [this, id = session.id, request, number = batch.number] {
    Session* client = server_->find(id);
    if (client == nullptr) return;
    ipc::Message message;
    message.frame().setAccepted(number);
    reply(*client, request, message);
  });
}

// A frame may hold tens of thousands.
struct Requests::Adding {
  Asker asker;
  ipc::ReceivedFrame frame;
  ipc::wire::AddTasks::Reader asked;
  capnp::List<ipc::wire::BatchTask>::Reader tasks;
  Room room;
  std::vector<std::string> commands;  // all are read before the first is added
  std::size_t added = 0;
};

void Requests::addTasks(Session& session, RequestId request, ipc::ReceivedFrame& frame) {
  auto asked = frame.get().getAddTasks();
  if (!session.batches.contains(asked.getBatch())) refuseBatch(asked.getBatch());
  // In bytes the frame is an upper bound.
  checkRoom(session.uid, asked.getTasks().size(), asked.totalSize().wordCount * sizeof(capnp::word));
  for (shm::Fd& fd : std::exchange(frame.fds, {})) parts_.closer.close(std::move(fd));  // none belongs here
  auto adding = std::make_shared<Adding>(Adding{
      askerOf(session, request), std::move(frame), asked, asked.getTasks(), Room(*this, session.uid), {}, 0});
  adding->room.reserve(adding->tasks.size());
  adding->commands.reserve(adding->tasks.size());
  work(session, request, [this, adding] { return addSome(*adding); });
}

bool Requests::addSome(Adding& adding) {
  auto& commands = adding.commands;
  const auto most = [](std::size_t from, std::size_t size) { return std::min(from + kTasksPerStep, size); };
  if (commands.size() < adding.tasks.size()) {
    const auto end = static_cast<unsigned>(most(commands.size(), adding.tasks.size()));
    for (auto i = static_cast<unsigned>(commands.size()); i < end; ++i) {
      commands.push_back(joinWords(adding.tasks[i].getArgv()));
    }
    return true;
  }
  Registry::Entry* entry = parts_.registry.entry(adding.asked.getBatch(), adding.asker.uid);
  if (entry == nullptr || !entry->batch || entry->batch->closed) refuseBatch(adding.asked.getBatch());
  Batch& batch = *entry->batch;
  for (const std::size_t end = most(adding.added, commands.size()); adding.added < end; ++adding.added) {
    std::string& argv = commands[adding.added];
    if (batch.firstArgv.empty()) batch.firstArgv = argv;
    Task& task = parts_.registry.addTaskTo(batch, std::move(argv));
    task.attached = batch.attached;
    adding.room.give(1);
    parts_.subscriptions.submitted(task);
    parts_.dispatcher.submit(task, {}, {});
  }
  if (adding.added < commands.size()) return true;
  ok(adding.asker);
  if (adding.asked.getLast()) parts_.dispatcher.closeBatch(batch);
  parts_.dispatcher.dispatch();
  return false;
}

struct Requests::Retrying {
  Asker asker;
  Sweep ended;
  Room room;
  bool checked = false;
  std::vector<TaskContent> commands;
  std::uint64_t bytes = 0;  // of them
  std::vector<std::uint64_t> made;
};

void Requests::retry(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  auto retrying =
      std::make_shared<Retrying>(Retrying{askerOf(session, request),
                                          Sweep(parts_.registry, session.uid, selection, Sweep::Kind::every),
                                          Room(*this, session.uid),
                                          false,
                                          {},
                                          0,
                                          {}});
  work(session, request, [this, retrying] { return retrySome(*retrying); });
}

bool Requests::retrySome(Retrying& retrying) {
  auto& commands = retrying.commands;
  auto& made = retrying.made;
  const Asker& asker = retrying.asker;
  if (!retrying.checked) {
    retrying.checked = !retrying.ended.step([&](const Task& task) {
      checkRetry(task);
      commands.push_back({task.options, task.context, task.argv});
      retrying.bytes += bytesOf(task);
    });
    if (retrying.checked) {
      checkRoom(asker.uid, commands.size(), retrying.bytes);
      retrying.room.reserve(commands.size());
    }
    return true;
  }
  const std::size_t end = std::min(made.size() + kTasksPerStep, commands.size());
  while (made.size() < end) {
    Task& task = parts_.registry.addTask(asker.uid, std::move(commands[made.size()]));
    made.push_back(task.number);
    retrying.room.give(1);
    parts_.subscriptions.submitted(task);
    parts_.dispatcher.submit(task, {}, {});
  }
  if (made.size() < commands.size()) return true;
  ipc::Message message;
  auto ids = message.frame().initSubmittedMany(static_cast<unsigned>(made.size()));
  for (unsigned i = 0; i < ids.size(); ++i) ids.set(i, made[i]);
  reply(asker, message);
  parts_.dispatcher.dispatch();
  return false;
}

}  // namespace baton::daemon
