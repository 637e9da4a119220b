// What the JSON of queues, locks, pipes and shared memories has in common. Includes nlohmann-json: for .cc
// files only.
#pragma once

#include "ctl/json_parts.h"
#include "ipc/objects.capnp.h"

namespace baton::ctl {

// `name`, `uid`, `mode`, `created_at`, `users`.
Json objectJson(ipc::wire::ObjectRow::Reader row);
// `pid`, `uid`, `program`, `task`, `for_seconds`.
Json partyJson(ipc::wire::Party::Reader party);

}  // namespace baton::ctl
