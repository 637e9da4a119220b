#include "ctl/map/halt.h"

#include <charconv>
#include <string>

#include "ipc/error.h"

namespace baton::ctl::map {
namespace {

[[noreturn]] void throwBad(std::string_view text) {
  throw Error(Code::usage, "--halt '" + std::string(text) +
                               "' is none: never, or now|soon, then a comma and fail|success|done=N or =N% "
                               "with N from 1, as in now,fail=1");
}

// N or N%, N from 1.
bool parseThreshold(std::string_view text, HaltPolicy& policy) {
  policy.percent = text.ends_with('%');
  if (policy.percent) text.remove_suffix(1);
  const char* last = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), last, policy.threshold);
  return error == std::errc{} && stop == last && policy.threshold > 0;
}

std::optional<HaltPolicy> parseOld(std::string_view text) {
  using enum HaltPolicy::When;
  using enum HaltPolicy::Why;
  if (text == "0") return HaltPolicy{};
  if (text == "1") return HaltPolicy{soon, fail, 1, false};
  if (text == "2") return HaltPolicy{now, fail, 1, false};
  if (text == "-1") return HaltPolicy{soon, success, 1, false};
  if (text == "-2") return HaltPolicy{now, success, 1, false};
  HaltPolicy policy{soon, fail, 0, false};
  if (parseThreshold(text, policy) && policy.percent) return policy;
  return std::nullopt;
}

}  // namespace

HaltPolicy parseHalt(std::string_view text) {
  if (text == "never") return {};
  if (const auto old = parseOld(text)) return *old;
  const auto comma = text.find(',');
  const auto equals = text.find('=');
  if (comma == text.npos || equals == text.npos || equals < comma) throwBad(text);
  const std::string_view when = text.substr(0, comma);
  const std::string_view why = text.substr(comma + 1, equals - comma - 1);
  HaltPolicy policy;
  if (when == "now") {
    policy.when = HaltPolicy::When::now;
  } else if (when == "soon") {
    policy.when = HaltPolicy::When::soon;
  } else if (when != "never") {
    throwBad(text);
  }
  if (why == "success") {
    policy.why = HaltPolicy::Why::success;
  } else if (why == "done") {
    policy.why = HaltPolicy::Why::done;
  } else if (why != "fail") {
    throwBad(text);
  }
  if (!parseThreshold(text.substr(equals + 1), policy)) throwBad(text);
  return policy;
}

bool Halt::counts(const JobEnd& end) const {
  if (policy_.when == HaltPolicy::When::never) return false;
  switch (policy_.why) {
    case HaltPolicy::Why::fail:
      return end.failed();
    case HaltPolicy::Why::success:
      return !end.failed();
    case HaltPolicy::Why::done:
      return true;
  }
  return false;
}

Go Halt::jobEnded(const JobEnd& end) {
  if (end.failed()) {
    ++failed_;
  } else {
    ++succeeded_;
  }
  if (counts(end) && !firstStatus_) firstStatus_ = end.status();
  return decide();
}

Go Halt::setTotal(std::uint64_t total) {
  total_ = total;
  return decide();
}

int Halt::exitCode() const {
  return state_ == Go::on ? failureOrPercent() : haltStatus_;
}

Go Halt::decide() {
  if (state_ == Go::on && reached()) {
    haltStatus_ = statusAtHalt();
    state_ = policy_.when == HaltPolicy::When::now ? Go::now : Go::soon;
  }
  return state_;
}

bool Halt::reached() const {
  if (policy_.when == HaltPolicy::When::never || (policy_.percent && !total_)) return false;
  std::uint64_t counted = failed_;
  if (policy_.why == HaltPolicy::Why::success) counted = succeeded_;
  if (policy_.why == HaltPolicy::Why::done) counted = failed_ + succeeded_;
  if (counted == 0) return false;
  if (!policy_.percent) return counted >= policy_.threshold;
  // counted * 100 >= threshold * total, where the product on the right may be beyond 64 bits.
  return static_cast<long double>(counted) * 100 >=
         static_cast<long double>(policy_.threshold) * static_cast<long double>(*total_);
}

bool Halt::isOneJob() const {
  if (!policy_.percent) return policy_.threshold == 1;
  return policy_.threshold <= 100 && policy_.threshold * *total_ == 100;
}

int Halt::statusAtHalt() const {
  if (policy_.why == HaltPolicy::Why::success) return 0;
  return isOneJob() ? firstStatus_.value_or(0) : failureOrPercent();
}

int Halt::failureOrPercent() const {
  const bool percent = policy_.percent && policy_.when != HaltPolicy::When::never && total_;
  return percent ? failurePercent(failed_, *total_) : failureStatus(failed_);
}

}  // namespace baton::ctl::map
