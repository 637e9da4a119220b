// How the engine stops early: --halt, signals, Ctrl-Z.
#include <csignal>

#include "ctl/exit_code.h"
#include "ctl/map_engine.h"
#include "ipc/error.h"

namespace baton::ctl {

void MapEngine::stop(Stopping how) {
  if (how <= stopping_) {
    return;
  }
  const bool first = stopping_ == Stopping::no;
  stopping_ = how;
  const bool allMade = lastGiven_ || jobs_.total() == jobs_.made();
  cut_ = cut_ || !allMade || !ready_.empty();
  inputEnded_ = true;
  inputBlocks_ = false;
  ready_.clear();
  if (!client_ || batch_ == 0) {
    abandoned_ = true;  // nothing was given yet
    return;
  }
  if (!lastGiven_) give({});
  ipc::Message message;
  if (how == Stopping::now) {
    auto cancel = message.frame().initCancel();
    cancel.initSelection().initRefs(1)[0].setId(batch_);
    client_->send(message);
    return;
  }
  if (!first) {
    return;
  }
  // What has not started is held, so that the list of it stays true, and then taken back.
  holdAll(true);
  askForWaiting(0);
}

void MapEngine::askForWaiting(std::uint64_t after) {
  ipc::Message message;
  auto list = message.frame().initList();
  list.setBatch(batch_);
  list.setUnfinished(true);
  list.setAfter(after);
  constexpr unsigned kMostRows = 250;  // of a listing
  list.setLimit(kMostRows);
  listRequest_ = client_->send(message);
}

void MapEngine::takeListing(ipc::wire::Listing::Reader listing) {
  std::vector<std::uint32_t> waiting;
  for (const auto row : listing.getRows()) {
    const auto state = row.isTask() ? row.getTask().getState() : ipc::wire::State::RUNNING;
    if (state == ipc::wire::State::HELD || state == ipc::wire::State::QUEUED) {
      waiting.push_back(row.getTask().getIndex());
    }
  }
  if (listing.getNext() != 0) askForWaiting(listing.getNext());
  if (waiting.empty()) {
    return;
  }
  cut_ = true;
  ipc::Message message;
  auto refs = message.frame().initCancel().initSelection().initRefs(static_cast<unsigned>(waiting.size()));
  for (unsigned i = 0; i < refs.size(); ++i) {
    refs[i].setId(batch_);
    refs[i].setIndex(waiting[i]);
    dropped_.insert(waiting[i]);
  }
  client_->send(message);
}

void MapEngine::takeSignals() {
  while (const auto signal = signals_->next()) takeSignal(*signal);
}

void MapEngine::takeSignal(int signal) {
  switch (signal) {
    case SIGCONT:
    case SIGWINCH:
      return;
    case SIGTSTP:
      suspend();
      return;
    case SIGTERM:
    case SIGHUP:
      if (stopping_ == Stopping::no) {
        softSignal_ = signal;
        stop(Stopping::soon);
        if (!abandoned_) {
          say("SIG" + signalName(signal) +
              ": starting no more jobs, waiting for those that run; again to end them");
        }
        return;
      }
      break;
    default:
      break;
  }
  // Nothing runs any more, or it is to end at once and this is the second time.
  if (batchEnded_ || (stopping_ == Stopping::now && endSignal_)) abandoned_ = true;
  endSignal_ = signal;
  stop(Stopping::now);
}

void MapEngine::suspend() {
  holdAll(true);       // first: a job that stops leaves its slot to the next
  signalAll(SIGSTOP);  // their process groups are orphaned: the kernel ignores SIGTSTP there
  bar_.clear();
  // If nobody could continue us we are not stopped, and go on at once, as any process would.
  [[maybe_unused]] const bool stopped = signals_->stopGroup(SIGTSTP);
  signalAll(SIGCONT);
  holdAll(false);
}

void MapEngine::signalAll(int signal) {
  if (batch_ == 0) {
    return;
  }
  ipc::Message message;
  auto kill = message.frame().initKill();
  kill.initSelection().initRefs(1)[0].setId(batch_);
  kill.setSignal(signal);
  client_->send(message);
}

void MapEngine::holdAll(bool held) {
  if (batch_ == 0) {
    return;
  }
  ipc::Message message;
  auto selection = held ? message.frame().initHold() : message.frame().initRelease();
  selection.initRefs(1)[0].setId(batch_);
  client_->send(message);
}

}  // namespace baton::ctl
