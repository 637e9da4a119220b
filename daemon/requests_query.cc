// Requests that look.
#include <algorithm>
#include <climits>
#include <set>

#include "daemon/assign.h"
#include "daemon/requests.h"
#include "daemon/rows.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::daemon {
namespace {

constexpr std::uint32_t kMaxRows = 1000;
// A page ends early rather than pass the frame limit: argv may be long.
constexpr std::size_t kMaxPageBytes = ipc::kMaxFrameBytes / 2;
// What is not paged: all but what the framing takes.
constexpr std::size_t kMaxAnswerBytes = ipc::kMaxFrameBytes - 4096;

std::size_t rowBytes(const Task& task) {
  constexpr std::size_t kFixed = 640;
  const TaskOptions& options = *task.options;
  std::size_t bytes = kFixed + frameBytes(task.argv) + options.name.size() + options.stdinPath.size() +
                      options.stdoutPath.size() + options.stderrPath.size();
  if (task.outcome)
    bytes += task.outcome->detail.size() + task.outcome->escaped.size() * sizeof(std::int32_t);
  return bytes;
}

std::size_t rowBytes(const Batch& batch) {
  constexpr std::size_t kFixed = 1024;
  return kFixed + frameBytes(batch.firstArgv);
}

void sendListing(ipc::Message& message, const std::vector<const Task*>& tasks,
                 const std::vector<const Batch*>& batches, Detail detail, std::uint64_t next) {
  // One of the two is null at each place.
  auto listing = message.frame().initListing();
  auto rows = listing.initRows(static_cast<unsigned>(tasks.size()));
  for (unsigned i = 0; i < rows.size(); ++i) {
    if (tasks[i] != nullptr) {
      writeRow(*tasks[i], detail, rows[i].initTask());
    } else {
      writeRow(*batches[i], rows[i].initBatch());
    }
  }
  listing.setNext(next);
}

// A waiter is kept until what it waits for has ended.
ipc::Charge chargeForWait(const Session& session, std::size_t refs) {
  constexpr std::size_t kFixed = 512;
  constexpr std::size_t kOfEach = 96;
  ipc::Charge charge(session.waits);
  if (!charge.tryRaise(kFixed + kOfEach * refs)) {
    throw Error(Code::quota, "too much is waited for at once (config in_flight_bytes)");
  }
  return charge;
}

std::string shortName(const Task& task) {
  const auto words = splitArgv(task.argv);
  return "task " + labelOf(task) + " (" + ipc::escape(words.empty() ? "" : words.front()).substr(0, 40) + ")";
}

}  // namespace

void Requests::list(Session& session, RequestId request, ipc::wire::ListRequest::Reader asked) {
  if (asked.getBatch() != 0) {
    listBatch(session, request, asked);
    return;
  }
  const std::uint32_t limit = std::clamp<std::uint32_t>(asked.getLimit(), 1, kMaxRows);
  std::vector<const Task*> tasks;
  std::vector<const Batch*> batches;
  std::size_t bytes = 0;
  std::uint64_t last = 0;
  std::uint64_t next = 0;
  parts_.registry.forEach(asked.getAfter(), [&](Registry::Entry& entry) {
    if (entry.uid != session.uid) return true;
    const bool ended = entry.task != nullptr ? isEnd(entry.task->state) : entry.batch->ended();
    if (asked.getUnfinished() && ended) return true;
    bytes += entry.task != nullptr ? rowBytes(*entry.task) : rowBytes(*entry.batch);
    if (tasks.size() == limit || (!tasks.empty() && bytes > kMaxPageBytes)) {
      next = last;
      return false;
    }
    last = entry.id;
    tasks.push_back(entry.task);
    batches.push_back(entry.batch.get());
    return true;
  });
  ipc::Message message;
  sendListing(message, tasks, batches, Detail::row, next);
  reply(session, request, message);
}

void Requests::listBatch(Session& session, RequestId request, ipc::wire::ListRequest::Reader asked) {
  Registry::Entry* entry = parts_.registry.entry(asked.getBatch(), session.uid);
  if (entry == nullptr || !entry->batch) {
    throw Error(Code::unknownId, "no batch " + std::to_string(asked.getBatch()));
  }
  const std::uint32_t limit = std::clamp<std::uint32_t>(asked.getLimit(), 1, kMaxRows);
  const auto& all = entry->batch->tasks;
  std::vector<const Task*> tasks;
  std::size_t bytes = 0;
  std::uint64_t next = 0;
  for (std::uint64_t index = std::max(asked.getAfter(), all.dropped()); index < all.added();) {
    const Task* task = all.at(++index);
    if (task == nullptr || (asked.getUnfinished() && isEnd(task->state))) continue;
    bytes += rowBytes(*task);
    if (tasks.size() == limit || (!tasks.empty() && bytes > kMaxPageBytes)) {
      next = tasks.back()->index;
      break;
    }
    tasks.push_back(task);
  }
  ipc::Message message;
  sendListing(message, tasks, {}, Detail::row, next);
  reply(session, request, message);
}

void Requests::show(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  std::vector<const Task*> tasks;
  std::vector<const Batch*> batches;
  std::size_t rowsBytes = 0;
  std::size_t contextsBytes = 0;
  for (const Target& target : select(session, selection)) {
    tasks.push_back(target.task);
    batches.push_back(target.batch);
    rowsBytes += target.task != nullptr ? rowBytes(*target.task) : rowBytes(*target.batch);
    if (target.task != nullptr) contextsBytes += target.task->context->bytes();
  }
  if (rowsBytes > kMaxAnswerBytes) {
    throw Error(Code::tooLarge, "that is more than one answer can show; ask for fewer at once");
  }
  // Large environments are left out: those who need them ask one by one.
  const Detail detail = rowsBytes + contextsBytes > kMaxAnswerBytes ? Detail::row : Detail::all;
  ipc::Message message;
  sendListing(message, tasks, batches, detail, 0);
  reply(session, request, message);
}

void Requests::explain(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  const auto keys = tasksOf(session, selection, false);
  const std::size_t count = std::min<std::size_t>(keys.size(), kMaxRows);
  ipc::Message message;
  auto list = message.frame().initExplanations(static_cast<unsigned>(count));
  std::vector<std::string> holders;
  for (const Pool::Worker* worker : parts_.pool.list()) {
    const Task* task = parts_.registry.find(worker->task);
    if (task == nullptr || worker->lane == Lane::io || worker->parked) continue;
    holders.push_back(task->uid == session.uid ? shortName(*task) : "a task of another user");
  }
  for (unsigned i = 0; i < count; ++i) {
    const Task& task = *parts_.registry.find(keys[i]);
    const std::size_t ahead = parts_.scheduler.ahead(task.key);
    const auto lines = explanationOf(task, holders, ahead);
    list[i].setId(task.number);
    list[i].setAhead(ahead);
    auto text = list[i].initText(static_cast<unsigned>(lines.size()));
    for (unsigned line = 0; line < lines.size(); ++line) text.set(line, lines[line]);
  }
  reply(session, request, message);
}

std::vector<std::string> Requests::explanationOf(const Task& task, const std::vector<std::string>& holders,
                                                 std::size_t ahead) const {
  if (isEnd(task.state)) return {"it has ended"};
  if (task.state == State::HELD) return {"it is held; `batonctl release " + labelOf(task) + "` lets it go"};
  if (task.state == State::RUNNING) {
    if (task.running->stopped) return {"it was stopped by a signal; `fg` or signal CONT lets it go on"};
    if (task.running->parked) return {"it waits inside baton; its slot is given back meanwhile"};
    return {"it runs"};
  }
  std::vector<std::string> lines;
  if (task.options->lane == Lane::io) {
    lines.push_back(
        "it waits for room in the IO lane: " + std::to_string(parts_.scheduler.ioRunning(task.uid)) + " of " +
        std::to_string(parts_.control.config().values().ioTasks) + " run");
  } else {
    std::string line =
        "it waits for " +
        std::string(task.options->slots == 1 ? "a slot" : std::to_string(task.options->slots) + " slots") +
        ": " + std::to_string(parts_.scheduler.used()) + " of " + std::to_string(parts_.scheduler.slots()) +
        " are busy";
    for (std::size_t i = 0; i < holders.size() && i < 4; ++i) line += (i == 0 ? " with " : ", ") + holders[i];
    if (holders.size() > 4) line += " and " + std::to_string(holders.size() - 4) + " more";
    lines.push_back(line);
  }
  lines.push_back(ahead == 0 ? "it is the next to start" : std::to_string(ahead) + " tasks start before it");
  return lines;
}

void Requests::wait(Session& session, RequestId request, ipc::wire::WaitRequest::Reader asked) {
  Subscriptions::Wait wait;
  wait.any = asked.getAny();
  wait.timeout = asked.getTimeoutNs() > static_cast<std::uint64_t>(LLONG_MAX)
                     ? std::chrono::nanoseconds(-1)
                     : std::chrono::nanoseconds(asked.getTimeoutNs());
  std::set<std::pair<std::uint64_t, std::uint32_t>> seen;
  for (const Target& target : select(session, asked.getSelection())) {
    const bool task = target.task != nullptr;
    const bool again =
        !seen.emplace(task ? target.task->number : target.batch->number, task ? target.task->index : 0)
             .second;
    if (again) continue;
    if (task) {
      wait.all.push_back({target.task->number, target.task->index});
      if (!isEnd(target.task->state)) wait.tasks.push_back(target.task->key);
    } else {
      wait.all.push_back({target.batch->number, 0});
      if (!target.batch->ended()) wait.batches.push_back(target.batch->number);
    }
  }
  wait.charge = chargeForWait(session, wait.all.size());
  parts_.subscriptions.open(session, request, true);
  parts_.subscriptions.wait(session, request, std::move(wait), parts_.loop);
}

void Requests::logs(Session& session, RequestId request, ipc::wire::TaskRef::Reader ref) {
  const Target target = resolve(session, ref);
  if (target.task == nullptr) {
    throw Error(Code::usage,
                "the output of a batch is asked for task by task, as " + std::to_string(ref.getId()) + ".1");
  }
  auto log = parts_.logs.partsOf(target.task->key);
  if (log.parts.size() > ipc::kMaxFds) log.parts.erase(log.parts.begin(), log.parts.end() - ipc::kMaxFds);
  ipc::Message message;
  auto files = message.frame().initLogFiles();
  auto parts = files.initParts(static_cast<unsigned>(log.parts.size()));
  for (unsigned i = 0; i < parts.size(); ++i) {
    parts[i].setOffset(log.parts[i].offset);
    parts[i].setLength(log.parts[i].length);
    message.attach(std::move(log.parts[i].fd));
  }
  if (target.task->options->output != OutputMode::LOG) {
    files.setNote("its output went to the client that ran it");
  } else if (!log.note.empty()) {
    files.setNote(log.note);
  }
  if (target.task->outcome) files.setDroppedBytes(target.task->outcome->droppedBytes);
  files.setRunning(log.running);
  reply(session, request, message);
}

void Requests::status(Session& session, RequestId request) {
  ipc::Message message;
  auto status = message.frame().initStatusReply();
  parts_.control.fillStatus(status);
  status.setConnections(static_cast<std::uint32_t>(server_->size()));
  status.setBadFrames(server_->badFrames());
  status.setInFlightBytes(server_->inFlightBytes());
  status.setInFlightLimitBytes(parts_.control.config().values().inFlightBytes);
  status.setSlowClosed(server_->slowClosed());
  reply(session, request, message);
}

void Requests::workers(Session& session, RequestId request) {
  const auto all = parts_.pool.list();
  ipc::Message message;
  auto rows = message.frame().initWorkersReply(static_cast<unsigned>(all.size()));
  for (unsigned i = 0; i < rows.size(); ++i) writeRow(*all[i], parts_.registry.find(all[i]->task), rows[i]);
  reply(session, request, message);
}

void Requests::config(Session& session, RequestId request) {
  const auto lines = parts_.control.config().lines();
  ipc::Message message;
  auto rows = message.frame().initConfigReply(static_cast<unsigned>(lines.size()));
  for (unsigned i = 0; i < rows.size(); ++i) {
    rows[i].setKey(lines[i].key);
    rows[i].setValue(lines[i].value);
    rows[i].setSource(lines[i].source);
    rows[i].setMeaning(lines[i].meaning);
  }
  reply(session, request, message);
}

}  // namespace baton::daemon
