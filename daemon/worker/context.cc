#include "daemon/worker/context.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace baton::worker {
namespace {

// Set for each task; what the submitter's environment says of them is about the submitter.
constexpr std::array<std::string_view, 5> kTaskVariables{
    "BATON_TASK_ID=", "BATON_TASK=", "BATON_SLOT=", "BATON_ATTEMPT=", "BATON_SOCKET="};
// execvp's own, where PATH is not set.
constexpr const char* kDefaultPath = "/bin:/usr/bin";
constexpr int kIoClassShift = 13;

bool startsWith(const std::string& entry, std::string_view prefix) {
  return entry.compare(0, prefix.size(), prefix) == 0;
}

// An I/O priority of class "none" has no level that could be set.
int settable(int ioPriority) {
  return ioPriority >> kIoClassShift == 0 ? 0 : ioPriority;
}

}  // namespace

Context::Context(ipc::wire::Context::Reader context, const ipc::Surroundings& own)
    : wanted_(ipc::readContext(context)), ownNice_(own.nice) {
  readEnvironment();
  findDifferences(own);
}

void Context::readEnvironment() {
  environment_.reserve(wanted_.environment.size());
  for (auto& entry : wanted_.environment) {
    const bool ours = std::any_of(kTaskVariables.begin(), kTaskVariables.end(),
                                  [&](std::string_view name) { return startsWith(entry, name); });
    if (!ours) environment_.push_back(entry.data());
  }
  for (const char* name : kThreadVariables) {
    if (ipc::environmentValue(wanted_, name) == nullptr) threadVariables_.push_back(name);
  }
  const char* path = ipc::environmentValue(wanted_, "PATH");
  path_ = path != nullptr ? path : kDefaultPath;
}

void Context::findDifferences(const ipc::Surroundings& own) {
  for (std::size_t i = 0; i < wanted_.limitsTold; ++i) {
    const auto& limit = wanted_.limits[i];
    if (limit.soft != own.limits[i].soft || limit.hard != own.limits[i].hard) {
      limits_.push_back({static_cast<int>(i), {limit.soft, limit.hard}});
    }
  }
  ioPriority_ = settable(wanted_.ioPriority);
  setIoPriority_ = ioPriority_ != settable(own.ioPriority);
  // Within the pool's CPUs; a mask that has none of them would forbid to run at all.
  affinity_.resize(std::min(wanted_.affinity.size(), own.affinity.size()));
  for (std::size_t i = 0; i < affinity_.size(); ++i) affinity_[i] = wanted_.affinity[i] & own.affinity[i];
  while (!affinity_.empty() && affinity_.back() == 0) affinity_.pop_back();
  if (affinity_ == own.affinity) affinity_.clear();
}

void Context::fill(LaunchPlan& plan, int extraNice) {
  plan.cwd = wanted_.cwd.c_str();
  plan.umask = wanted_.umask;
  plan.limits = limits_.data();
  plan.limitCount = limits_.size();
  nice_ = std::clamp(wanted_.nice + extraNice, -20, 19);
  plan.nice = nice_ == ownNice_ ? nullptr : &nice_;
  plan.ioPriority = setIoPriority_ ? &ioPriority_ : nullptr;
  plan.affinity = affinity_.empty() ? nullptr : affinity_.data();
  plan.affinityBytes = affinity_.size();
  plan.ignoredSignals = wanted_.ignoredSignals;
}

std::string limitName(int resource) {
  static constexpr std::array<const char*, 16> kNames{
      "CPU time",       "file size",     "data segment",       "stack size",
      "core file size", "resident set",  "processes",          "open files",
      "locked memory",  "address space", "file locks",         "pending signals",
      "message queues", "nice",          "real-time priority", "real-time run time"};
  const auto index = static_cast<std::size_t>(resource);
  return index < kNames.size() ? kNames[index] : "resource " + std::to_string(resource);
}

}  // namespace baton::worker
