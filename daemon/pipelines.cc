#include "daemon/pipelines.h"

#include <algorithm>
#include <unordered_set>

namespace baton::daemon {
namespace {

// Clients say the inodes, and may say anything: what a change costs is bounded by these two. Both are far
// above what a person or a script joins; a task beyond them keeps its slot, as one without pipes does.
constexpr std::size_t kMaxEndsOfPipe = 32;
constexpr std::size_t kMaxPipeline = 256;

template <typename Ends>
void eraseEnd(Ends& ends, std::uint64_t inode, TaskId task) {
  const auto [first, last] = ends.equal_range(inode);
  const auto found = std::find_if(first, last, [&](const auto& end) { return end.second == task; });
  if (found != last) ends.erase(found);
}

}  // namespace

// The task and all that are joined with it, directly or by others.
std::vector<TaskId> Pipelines::pipelineOf(TaskId task) const {
  std::vector<TaskId> found{task};
  std::unordered_set<TaskId> seen{task};
  const auto join = [&](const Ends& ends, std::uint64_t inode) {
    const auto [first, last] = ends.equal_range(inode);
    for (auto end = first; end != last; ++end) {
      if (found.size() < kMaxPipeline && seen.insert(end->second).second) found.push_back(end->second);
    }
  };
  for (std::size_t i = 0; i < found.size(); ++i) {
    const PipeEnds& ends = members_.at(found[i]).ends;
    if (ends.in != 0) join(writers_, ends.in);
    for (const std::uint64_t out : ends.out) {
      if (out != 0) join(readers_, out);
    }
  }
  return found;
}

void Pipelines::erase(std::unordered_map<TaskId, Member>::iterator member) {
  const auto& [task, known] = *member;
  eraseEnd(readers_, known.ends.in, task);
  for (const std::uint64_t out : known.ends.out) eraseEnd(writers_, out, task);
  members_.erase(member);
}

void Pipelines::update(TaskId task, Change& change) {
  const auto pipeline = pipelineOf(task);
  const bool waits = std::any_of(pipeline.begin(), pipeline.end(),
                                 [&](TaskId other) { return !members_.at(other).running; });
  for (const TaskId other : pipeline) {
    Member& member = members_.at(other);
    if (!member.running || member.waits == waits) continue;
    member.waits = waits;
    (waits ? change.begin : change.end).push_back(other);
  }
}

Pipelines::Change Pipelines::queued(TaskId task, const PipeEnds& ends) {
  Change change;
  if (const auto known = members_.find(task); known != members_.end()) erase(known);
  const bool tooMany = readers_.count(ends.in) >= kMaxEndsOfPipe ||
                       writers_.count(ends.out[0]) >= kMaxEndsOfPipe ||
                       writers_.count(ends.out[1]) >= kMaxEndsOfPipe;
  if (tooMany) return change;
  members_[task] = {ends, false, false};
  if (ends.in != 0) readers_.emplace(ends.in, task);
  for (const std::uint64_t out : ends.out) {
    if (out != 0) writers_.emplace(out, task);
  }
  update(task, change);
  return change;
}

Pipelines::Change Pipelines::started(TaskId task) {
  Change change;
  const auto found = members_.find(task);
  if (found == members_.end()) return change;
  found->second.running = true;
  update(task, change);
  return change;
}

Pipelines::Change Pipelines::left(TaskId task) {
  Change change;
  const auto known = members_.find(task);
  if (known == members_.end()) return change;
  const auto pipeline = pipelineOf(task);
  erase(known);
  for (const TaskId other : pipeline) {
    if (other != task) update(other, change);
  }
  return change;
}

}  // namespace baton::daemon
