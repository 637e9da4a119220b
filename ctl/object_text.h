// Words for what rows of queues, locks, pipes and shared memories say; and their listing, page by page. All
// text is escaped.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ipc/client.h"

namespace baton::ctl {

// "pid 4711 (make) of anna".
std::string partyText(ipc::wire::Party::Reader party);
// The owner before the name where it is not this user.
std::string objectName(ipc::wire::ObjectRow::Reader row);
// "rw-r-----".
std::string modeText(std::uint16_t mode);
// "0640". Throws Error(usage).
std::uint16_t modeOf(const std::string& text);
const char* policyName(ipc::wire::FullPolicy policy);

// Calls `row` for each object of the kind.
void listObjects(ipc::Client& client, ipc::wire::ObjectKind kind,
                 const std::function<void(ipc::wire::ObjectRow::Reader)>& row);
// The reply has one row.
ipc::ReceivedFrame showObject(ipc::Client& client, ipc::wire::ObjectKind kind, const std::string& name);
void removeObjects(ipc::Client& client, ipc::wire::ObjectKind kind, const std::vector<std::string>& names,
                   bool force);

}  // namespace baton::ctl
