// Records as the protocol shows them.
#pragma once

#include "daemon/pool.h"
#include "daemon/task.h"

namespace baton::daemon {

enum class Detail {
  result,  // how it ended, without argv
  row,     // a line of a listing
  all,     // with the context; to the owner only
};

void writeRow(const Task& task, Detail detail, ipc::wire::TaskRow::Builder row);
void writeRow(const Batch& batch, ipc::wire::BatchRow::Builder row);
void writeRow(const Pool::Worker& worker, const Task* task, ipc::wire::WorkerRow::Builder row);

}  // namespace baton::daemon
