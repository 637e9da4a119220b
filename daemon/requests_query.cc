// Requests that look.
#include <algorithm>
#include <climits>
#include <memory>

#include "daemon/assign.h"
#include "daemon/requests.h"
#include "daemon/rows.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::daemon {
namespace {

// Of a listing: with more a page would hold the loop for longer than a millisecond.
constexpr std::uint32_t kMaxListed = 250;
// Of an explanation, which is written in steps.
constexpr std::uint32_t kMaxExplained = 1000;
// A page of a batch may be short, or empty: a million that are not wanted take longer than a request may.
constexpr std::size_t kMaxLookedAt = 8192;
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
  const std::uint32_t limit = std::clamp<std::uint32_t>(asked.getLimit(), 1, kMaxListed);
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
  const std::uint32_t limit = std::clamp<std::uint32_t>(asked.getLimit(), 1, kMaxListed);
  const auto& all = entry->batch->tasks;
  std::vector<const Task*> tasks;
  std::size_t bytes = 0;
  std::uint64_t next = 0;
  const std::uint64_t begin = std::max(asked.getAfter(), all.dropped());
  const std::uint64_t end = std::min(begin + kMaxLookedAt, all.added());
  if (end < all.added()) next = end;
  for (std::uint64_t index = begin; index < end;) {
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
  const auto add = [&](const Task* task, const Batch* batch) {
    tasks.push_back(task);
    batches.push_back(batch);
    rowsBytes += task != nullptr ? rowBytes(*task) : rowBytes(*batch);
    if (task != nullptr) contextsBytes += task->context->bytes();
    if (rowsBytes > kMaxAnswerBytes) {
      throw Error(Code::tooLarge, "that is more than one answer can show; ask for fewer at once");
    }
  };
  if (selection.getAll()) {
    parts_.registry.forEach(0, [&](const Registry::Entry& entry) {
      const bool ended = entry.batch ? entry.batch->ended() : isEnd(entry.task->state);
      if (entry.uid == session.uid && !ended) add(entry.task, entry.batch.get());
      return true;
    });
  } else {
    for (const auto ref : selection.getRefs()) {
      const Target target = resolve(session, ref);
      add(target.task, target.batch);
    }
  }
  // Large environments are left out: those who need them ask one by one.
  const Detail detail = rowsBytes + contextsBytes > kMaxAnswerBytes ? Detail::row : Detail::all;
  ipc::Message message;
  sendListing(message, tasks, batches, detail, 0);
  reply(session, request, message);
}

struct Requests::Explaining {
  Asker asker;
  Sweep tasks;
  bool chosen = false;
  struct Chosen {
    TaskId key;
    std::uint64_t number;
  };
  std::vector<Chosen> keys;
  std::vector<std::string> holders;
  ipc::Message message;
  unsigned written = 0;
};

void Requests::explain(Session& session, RequestId request, ipc::wire::Selection::Reader selection) {
  auto explaining = std::make_shared<Explaining>(
      Explaining{askerOf(session, request),
                 Sweep(parts_.registry, session.uid, selection, Sweep::Kind::every),
                 false,
                 {},
                 {},
                 {},
                 0});
  work(session, request, [this, explaining] { return explainSome(*explaining); });
}

std::vector<std::string> Requests::holdersFor(Uid uid) const {
  std::vector<std::string> holders;
  for (const Pool::Worker* worker : parts_.pool.list()) {
    const Task* task = parts_.registry.find(worker->task);
    if (task == nullptr || worker->lane == Lane::io || worker->parked) continue;
    holders.push_back(task->uid == uid ? shortName(*task) : "a task of another user");
  }
  return holders;
}

bool Requests::explainSome(Explaining& explaining) {
  constexpr unsigned kRowsPerStep = 8;
  auto& keys = explaining.keys;
  auto frame = explaining.message.frame();
  if (!explaining.chosen) {
    const bool more = explaining.tasks.step([&](const Task& task) {
      if (keys.size() < kMaxExplained) keys.push_back({task.key, task.number});
    });
    explaining.chosen = !more || keys.size() == kMaxExplained;
    if (explaining.chosen) {
      frame.initExplanations(static_cast<unsigned>(keys.size()));
      explaining.holders = holdersFor(explaining.asker.uid);
    }
    return true;
  }
  auto list = frame.getExplanations();
  const unsigned end = std::min(explaining.written + kRowsPerStep, list.size());
  for (; explaining.written < end; ++explaining.written) {
    const auto [key, number] = keys[explaining.written];
    const Task* task = parts_.registry.find(key);
    const std::size_t ahead = task != nullptr ? parts_.scheduler.ahead(key) : 0;
    const auto lines = task != nullptr ? explanationOf(*task, explaining.holders, ahead)
                                       : std::vector<std::string>{"it has ended, and is not kept any more"};
    auto row = list[explaining.written];
    row.setId(number);
    row.setAhead(ahead);
    auto text = row.initText(static_cast<unsigned>(lines.size()));
    for (unsigned line = 0; line < lines.size(); ++line) text.set(line, lines[line]);
  }
  if (end < list.size()) return true;
  reply(explaining.asker, explaining.message);
  return false;
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
  const auto timeout = asked.getTimeoutNs() > static_cast<std::uint64_t>(LLONG_MAX)
                           ? std::chrono::nanoseconds(-1)
                           : std::chrono::nanoseconds(asked.getTimeoutNs());
  Sweep wanted(parts_.registry, session.uid, asked.getSelection(), Sweep::Kind::every);
  parts_.subscriptions.open(session, request, true);
  const auto waiter = parts_.subscriptions.beginWait(session, request, asked.getAny());
  const auto add = [this, waiter, everything = wanted.everything()](const Registry::Entry& entry,
                                                                    std::uint32_t index) {
    const bool ended = entry.batch ? entry.batch->ended() : isEnd(entry.task->state);
    if (!(everything && ended)) parts_.subscriptions.alsoFor(waiter, entry, index);
  };
  work(session, request, [this, waiter, add, timeout, wanted = std::move(wanted)]() mutable {
    try {
      if (wanted.stepEntries(add)) return true;
    } catch (const Error&) {
      parts_.subscriptions.giveUp(waiter);
      throw;
    }
    parts_.subscriptions.wait(waiter, timeout, parts_.loop);
    return false;
  });
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
  status.setRingBytes(server_->ringBytes());
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
