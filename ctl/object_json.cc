#include "ctl/object_json.h"

#include <fmt/format.h>

namespace baton::ctl {

Json objectJson(ipc::wire::ObjectRow::Reader row) {
  Json json;
  json["name"] = view(row.getName());
  json["uid"] = row.getUid();
  json["mode"] = fmt::format("{:04o}", row.getMode());
  json["created_at"] = secondsOrNull(row.getCreatedNs());
  json["users"] = row.getUserCount();
  return json;
}

Json partyJson(ipc::wire::Party::Reader party) {
  Json json;
  // A lease that is nobody's has no pid.
  json["pid"] = party.getPid() == 0 ? Json() : Json(party.getPid());
  json["uid"] = party.getPid() == 0 ? Json() : Json(party.getUid());
  json["program"] = textOrNull(view(party.getProgram()));
  json["task"] = orNull(party.getTask());
  json["for_seconds"] = seconds(party.getForNs());
  return json;
}

}  // namespace baton::ctl
