// Locks as the protocol shows them.
#pragma once

#include <string_view>

#include "daemon/lock_table.h"
#include "ipc/objects.capnp.h"
#include "shm/fd.h"

namespace baton::daemon {

std::string_view nameOf(LockKind kind);
void writeOptions(const LockOptions& options, ipc::wire::LockOptions::Builder built);
void writeGrant(const LockGrant& grant, Time now, ipc::wire::LockGranted::Builder built);
// `cycle`: looked for only where somebody waits.
void writeLock(const Lock& lock, bool all, const std::string& cycle, Time now,
               ipc::wire::LockRow::Builder row);

// Of the process of a pidfd that was checked. Throws Error(usage) if it has ended, Error(refused) if it is
// not the asker's.
LockWho whoIs(const shm::Fd& pidfd, Uid asker);

}  // namespace baton::daemon
