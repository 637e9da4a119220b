// Ids of tasks and batches as people write them: `12`, `12.3` (third task of batch 12), `5-9`, `1,4,7-9`,
// `last` (the newest).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "ipc/client.h"

namespace baton::ctl {

struct TaskRef {
  std::uint64_t id = 0;     // of a task or a batch
  std::uint32_t index = 0;  // of a batch's task, from 1; 0: the task or the whole batch
  bool operator==(const TaskRef&) const = default;
};

// "12" or "12.3".
std::string toString(const TaskRef& ref);

// In the order written, each once. Throws Error(usage) for what is no id, and when there are more than a
// request takes (10,000). `newest` is called when `last` stands there.
std::vector<TaskRef> parseRefs(std::span<const std::string> words,
                               const std::function<std::uint64_t()>& newest);
// As above; asks the daemon for the newest. Throws Error(unknownId) if there is none.
std::vector<TaskRef> parseRefs(std::span<const std::string> words, ipc::Client& client);

// The greatest id there is, or the greatest index of a batch's tasks; 0: there is none. Found by halving:
// some dozens of small questions, whatever the number of tasks.
std::uint64_t newest(ipc::Client& client, std::uint64_t batch);

void writeRefs(std::span<const TaskRef> refs, capnp::List<ipc::wire::TaskRef>::Builder list);
void writeSelection(std::span<const TaskRef> refs, ipc::wire::Selection::Builder selection);

}  // namespace baton::ctl
