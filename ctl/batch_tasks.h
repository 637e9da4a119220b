// The tasks of a batch, for verbs that do with each of them what they do with a task.
#pragma once

#include <functional>

#include "ctl/selection.h"
#include "ipc/client.h"

namespace baton::ctl {

// Calls `visit` for each task of the batch that is still known, in order; `client` may be used in it. False,
// without a call: `ref` is no whole batch.
[[nodiscard]] bool forEachTask(ipc::Client& client, const TaskRef& ref,
                               const std::function<void(ipc::wire::TaskRow::Reader)>& visit);

}  // namespace baton::ctl
