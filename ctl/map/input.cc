#include "ctl/map/input.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ipc/error.h"

namespace baton::ctl::map {
namespace {

// Only for a progress bar: beyond 2^64 the exact number does not matter.
std::uint64_t saturatingProduct(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  const bool overflow = __builtin_mul_overflow(a, b, &product);
  return overflow ? std::numeric_limits<std::uint64_t>::max() : product;
}

}  // namespace

Input::Input(std::vector<Source> sources, InputOptions options) : options_(options) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const bool isAlone = i + 1 == sources.size() || !sources[i + 1].linked;
    if (i == 0 && sources[i].isFile && isAlone && !options_.countFirst) {
      head_ = open(sources[i]);
    } else {
      hold(std::move(sources[i]));
    }
  }
}

std::unique_ptr<RecordStream> Input::open(const Source& source) {
  if (source.path == "-") {
    if (readsStdin_) throw Error(Code::usage, "stdin is named as input twice, but can be read only once");
    readsStdin_ = true;
  }
  return std::make_unique<RecordStream>(source.path, options_.delimiter, options_.stdinFd);
}

void Input::hold(Source source) {
  if (!source.linked || axes_.empty()) axes_.emplace_back();
  Axis& axis = axes_.back();
  if (source.isFile) {
    Pending& pending = pending_.emplace_back();
    pending.axis = axes_.size() - 1;
    pending.source = axis.values.size();
    pending.stream = open(source);
  }
  axis.values.push_back(std::move(source.values));
}

Pull Input::next(Arguments& arguments) {
  waitFd_ = -1;
  if (ended_) return Pull::end;
  if (!settled_) {
    if (const Pull pull = loadPending(); pull != Pull::end) return pull;
    settle();
  }
  const Pull pull = advance();
  if (pull == Pull::record) fill(arguments);
  ended_ = pull == Pull::end;
  return pull;
}

Pull Input::loadPending() {
  std::string record;
  while (!pending_.empty()) {
    Pending& pending = pending_.front();
    const Pull pull = pending.stream->next(record);
    if (pull == Pull::wouldBlock) {
      waitFd_ = pending.stream->fd();
      return pull;
    }
    if (pull == Pull::end) {
      replacedNul_ |= pending.stream->replacedNul();
      pending_.erase(pending_.begin());
      continue;
    }
    heldBytes_ += record.size() + sizeof(std::string);
    if (heldBytes_ > options_.heldBytes) {
      const std::string more = " more than " + std::to_string(options_.heldBytes >> 20) + " MiB; ";
      throw Error(Code::tooLarge,
                  options_.countFirst
                      ? "all input is held in memory to know how much a percentage is, and it needs" + more +
                            "say a number of jobs instead"
                      : "input sources after the first one are held in memory, and these need" + more +
                            "name the largest one first");
    }
    axes_[pending.axis].values[pending.source].push_back(std::move(record));
  }
  return Pull::end;
}

void Input::settle() {
  settled_ = true;
  axesEmpty_ = true;
  for (Axis& axis : axes_) {
    axis.steps = std::numeric_limits<std::size_t>::max();
    for (auto& values : axis.values) {
      if (values.empty()) {
        values.emplace_back();
      } else {
        axesEmpty_ = false;
      }
      axis.steps = std::min(axis.steps, values.size());
    }
    combinations_ = saturatingProduct(combinations_, axis.steps);
  }
}

Pull Input::advance() {
  if (head_) {
    if (started_ && !headWanted_) headWanted_ = !stepAxes();
    started_ = true;
    return headWanted_ ? nextHead() : Pull::record;
  }
  if (!started_) {
    started_ = true;
    return axesEmpty_ ? Pull::end : Pull::record;
  }
  return stepAxes() ? Pull::record : Pull::end;
}

bool Input::stepAxes() {
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
    if (++axis->at < axis->steps) return true;
    axis->at = 0;
  }
  return false;
}

int Input::readAhead() {
  std::string record;
  while (head_ && !headRead_ && aheadBytes_ < options_.readAheadBytes) {
    const Pull pull = head_->next(record);
    if (pull == Pull::wouldBlock) return head_->fd();
    headRead_ = pull == Pull::end;
    if (headRead_) break;
    aheadBytes_ += record.size() + sizeof(std::string);
    ahead_.push_back(std::move(record));
  }
  return -1;
}

Pull Input::readHead() {
  if (ahead_.empty()) {
    const Pull pull = headRead_ ? Pull::end : head_->next(headRecord_);
    headRead_ = pull == Pull::end;
    return pull;
  }
  headRecord_ = std::move(ahead_.front());
  ahead_.pop_front();
  aheadBytes_ -= headRecord_.size() + sizeof(std::string);
  return Pull::record;
}

Pull Input::nextHead() {
  if (headEnded_) return Pull::end;
  const Pull pull = readHead();
  if (pull == Pull::wouldBlock) {
    waitFd_ = head_->fd();
    return pull;
  }
  if (pull == Pull::end) {
    headEnded_ = true;
    if (headRecords_ > 0 || axesEmpty_) return Pull::end;
    headRecord_.clear();
  }
  ++headRecords_;
  headWanted_ = false;
  return Pull::record;
}

void Input::fill(Arguments& arguments) const {
  arguments.clear();
  if (head_) arguments.push_back(headRecord_);
  for (const Axis& axis : axes_) {
    for (const auto& values : axis.values) arguments.push_back(values[axis.at]);
  }
}

std::optional<std::uint64_t> Input::total() const {
  if (!settled_ || (head_ && !headRead_)) return std::nullopt;
  if (!head_) return axesEmpty_ ? 0 : combinations_;
  const std::uint64_t records = headRecords_ + ahead_.size();
  return saturatingProduct(records == 0 && !axesEmpty_ ? 1 : records, combinations_);
}

bool Input::replacedNul() const {
  const auto replaced = [](const Pending& pending) { return pending.stream->replacedNul(); };
  return replacedNul_ || (head_ && head_->replacedNul()) ||
         std::any_of(pending_.begin(), pending_.end(), replaced);
}

}  // namespace baton::ctl::map
