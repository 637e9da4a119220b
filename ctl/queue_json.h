// Queues and messages as --json prints them; docs/json.md has the fields.
#pragma once

#include <string>

#include "ctl/json.h"
#include "ipc/objects.capnp.h"

namespace baton::ctl {

std::string toJson(ipc::wire::QueueMessage::Reader message);
// `all`: as of `show`, with who waits and who has what.
std::string queueJson(ipc::wire::ObjectRow::Reader row, bool all);

}  // namespace baton::ctl
