#include "ctl/waiting_hint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirst{1000};
constexpr milliseconds kAgain{3000};

void writeToStderr(const std::string& text) {
  [[maybe_unused]] const ssize_t wrote = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

WaitingHint::WaitingHint(ipc::Client& client, std::vector<TaskRef> tasks)
    : client_(client),
      tasks_(std::move(tasks)),
      enabled_(isTerminal(STDERR_FILENO)),
      next_(Clock::now() + kFirst) {}

std::optional<milliseconds> WaitingHint::timeout() const {
  if (!enabled_ || asked_ != 0) return std::nullopt;
  const auto left = std::chrono::ceil<milliseconds>(next_ - Clock::now());
  return std::max(left, milliseconds{0});
}

void WaitingHint::ask() {
  if (enabled_ && asked_ == 0 && Clock::now() >= next_) askForRow();
}

void WaitingHint::askForRow() {
  ipc::Message request;
  auto list = request.frame().initList();
  list.setLimit(1);
  if (first_ >= tasks_.size()) {
    list.setUnfinished(true);
  } else if (tasks_[first_].index == 0) {
    list.setAfter(tasks_[first_].id - 1);
  } else {
    list.setBatch(tasks_[first_].id);
    list.setAfter(tasks_[first_].index - 1);
  }
  asked_ = client_.send(request);
  askedForReason_ = false;
}

bool WaitingHint::take(ipc::wire::Frame::Reader frame) {
  if (asked_ == 0 || frame.getId() != asked_) return false;
  asked_ = 0;
  next_ = Clock::now() + kAgain;
  if (!enabled_) return true;
  askedForReason_ ? takeReason(frame) : takeRow(frame);
  return true;
}

void WaitingHint::takeRow(ipc::wire::Frame::Reader frame) {
  if (!frame.isListing() || frame.getListing().getRows().size() == 0) return;
  const auto row = frame.getListing().getRows()[0];
  const bool ended = row.isBatch() ? hasEnded(row.getBatch()) : hasEnded(row.getTask().getState());
  if (ended) {
    // Once all have ended the answer is on its way.
    if (first_ + 1 < tasks_.size()) {
      ++first_;
      askForRow();
    }
    return;
  }
  const std::string others =
      tasks_.size() > first_ + 1 ? fmt::format(" (and {} more)", tasks_.size() - first_ - 1) : "";
  if (row.isBatch()) {
    const auto batch = row.getBatch();
    show(fmt::format("waiting for batch {}{}: {}", batch.getId(), others, batchProgress(batch)));
    return;
  }
  const auto task = row.getTask();
  subject_ = fmt::format("waiting for task {}{}: ", idText(task), others);
  if (task.getState() == ipc::wire::State::RUNNING && !task.getStopped() && !task.getParked()) {
    show(fmt::format("{}it has run {}: {}", subject_, durationText(task.getStartedNs(), calendarNowNs()),
                     commandText(task.getArgv())));
    return;
  }
  ipc::Message request;
  const TaskRef ref =
      task.getBatch() == 0 ? TaskRef{task.getId(), 0} : TaskRef{task.getBatch(), task.getIndex()};
  writeSelection({&ref, 1}, request.frame().initExplain());
  asked_ = client_.send(request);
  askedForReason_ = true;
}

void WaitingHint::takeReason(ipc::wire::Frame::Reader frame) {
  if (!frame.isExplanations() || frame.getExplanations().size() == 0) return;
  std::string line;
  for (const auto sentence : frame.getExplanations()[0].getText()) {
    line += (line.empty() ? "" : "; ") + ipc::escape(sentence.cStr());
  }
  show(subject_ + line);
}

void WaitingHint::show(const std::string& line) {
  const unsigned width = terminalWidth(STDERR_FILENO).value_or(80);
  const std::string text = fitted("batonctl: " + line, width > 1 ? width - 1 : width);
  if (text == shown_) return;
  writeToStderr("\r\x1b[K" + text);
  shown_ = text;
}

void WaitingHint::clear() {
  if (shown_.empty()) return;
  writeToStderr("\r\x1b[K");
  shown_.clear();
}

void WaitingHint::finish() {
  clear();
  enabled_ = false;
}

}  // namespace baton::ctl
