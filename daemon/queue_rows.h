// Queues and messages as frames have them.
#pragma once

#include <span>

#include "daemon/queue.h"
#include "ipc/objects.capnp.h"

namespace baton::daemon {

void writeOptions(const QueueOptions& options, ipc::wire::QueueOptions::Builder to);
// All but who waits and who holds what.
void writeRow(const Queue& queue, Time now, ipc::wire::QueueRow::Builder row);

void writeMessages(ipc::wire::QueueMessages::Builder to, QueueOutcome outcome,
                   std::span<const QueueMessage* const> messages, Time now);

}  // namespace baton::daemon
