#include "daemon/pipelines.h"

#include <algorithm>

namespace baton::daemon {
namespace {

bool writesTo(const PipeEnds& writer, const PipeEnds& reader) {
  return reader.in != 0 && std::find(writer.out.begin(), writer.out.end(), reader.in) != writer.out.end();
}

}  // namespace

// The task and all that are joined with it, directly or by others.
std::vector<TaskId> Pipelines::pipelineOf(TaskId task) const {
  std::vector<TaskId> found{task};
  for (std::size_t i = 0; i < found.size(); ++i) {
    const PipeEnds& ends = members_.at(found[i]).ends;
    for (const auto& [other, member] : members_) {
      const bool joined = writesTo(ends, member.ends) || writesTo(member.ends, ends);
      if (joined && std::find(found.begin(), found.end(), other) == found.end()) found.push_back(other);
    }
  }
  return found;
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
  members_[task] = {ends, false, false};
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
  if (!members_.contains(task)) return change;
  const auto pipeline = pipelineOf(task);
  members_.erase(task);
  for (const TaskId other : pipeline) {
    if (other != task) update(other, change);
  }
  return change;
}

}  // namespace baton::daemon
