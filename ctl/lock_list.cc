// `batonctl lock list`, `lock show`.
#include <fmt/format.h>

#include "ctl/json.h"
#include "ctl/lock_client.h"
#include "ctl/lock_verbs.h"
#include "ctl/object_json.h"
#include "ctl/object_text.h"
#include "ctl/output.h"
#include "ctl/row_text.h"
#include "ctl/session.h"
#include "ctl/table.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr Arguments::Spec kList{.verb = "lock list",
                                .usage = "[OPTIONS]",
                                .description = "The locks there are: who holds each, since when, who waits.",
                                .footer =
                                    "Examples:\n"
                                    "  batonctl lock list\n"
                                    "  batonctl --json lock list | jq '.[] | select(.waiters > 0)'",
                                .words = Arguments::Words::none};
constexpr Arguments::Spec kShow{
    .verb = "lock show",
    .usage = "[OPTIONS] NAME...",
    .description = "All there is to know of a lock: holders, waiters in order, the last owner's death.",
    .footer =
        "Examples:\n"
        "  batonctl lock show deploy\n"
        "  batonctl --json lock show deploy | jq '.[0].holders'",
    .words = Arguments::Words::operands};

std::string stateOf(wire::LockRow::Reader row) {
  const auto kind = row.getOptions().getKind();
  if (kind == wire::LockKind::EVENT) return row.getIsSet() ? "set" : "clear";
  if (row.getBlockedBy().size() > 0) return "blocked";
  if (kind == wire::LockKind::SEMAPHORE) {
    return fmt::format("{} of {} free", row.getFree(), row.getOptions().getPermits());
  }
  if (row.getHolderCount() > 0) {
    return row.getHolders()[0].getMode() == wire::LockMode::SHARED ? "shared" : "held";
  }
  if (row.getAbandoned()) return "abandoned";
  return row.getCached() ? "cached" : "free";
}

std::string holderText(wire::LockRow::Reader row) {
  if (row.getHolderCount() == 0) return "-";
  std::string text = partyText(row.getHolders()[0]);
  if (row.getHolderCount() > 1) text += fmt::format(" and {} more", row.getHolderCount() - 1);
  return text;
}

Json toJson(wire::Party::Reader party) {
  Json json = partyJson(party);
  if (party.getThread() != 0) json["thread"] = party.getThread();
  if (party.getCount() > 1) json["count"] = party.getCount();
  if (party.getMode() == wire::LockMode::SHARED) json["shared"] = true;
  return json;
}

Json toJson(wire::ObjectRow::Reader object, bool all) {
  const auto row = object.getLock();
  Json json = objectJson(object);
  json["kind"] = lockKindName(row.getOptions().getKind());
  json["state"] = stateOf(row);
  json["holder_count"] = row.getHolderCount();
  json["waiter_count"] = row.getWaiterCount();
  if (row.getOptions().getKind() == wire::LockKind::SEMAPHORE) {
    json["permits"] = row.getOptions().getPermits();
    json["free"] = row.getFree();
  }
  json["holders"] = Json::array();
  for (const auto party : row.getHolders()) json["holders"].push_back(toJson(party));
  json["waiters"] = Json::array();
  for (const auto party : row.getWaiters()) json["waiters"].push_back(toJson(party));
  json["abandoned"] = row.getAbandoned();
  if (row.getAbandoned()) {
    const auto told = row.getAbandonment();
    json["abandonment"] = {{"by", toJson(told.getBy())},
                           {"ago_seconds", static_cast<double>(told.getAgoNs()) / 1e9},
                           {"tree_may_live", told.getTreeMayLive()},
                           {"broken", told.getBroken()}};
  }
  if (row.getCycle().size() > 0) json["cycle"] = row.getCycle().cStr();
  if (row.getBlockedBy().size() > 0) json["blocked_by"] = row.getBlockedBy().cStr();
  if (all) json["last_token"] = row.getLastToken();
  return json;
}

void printRow(wire::ObjectRow::Reader object) {
  const auto row = object.getLock();
  Fields fields;
  fields.add("name", objectName(object));
  fields.add("kind", lockKindName(row.getOptions().getKind()));
  fields.add("state", stateOf(row));
  for (const auto party : row.getHolders()) {
    std::string text = partyText(party) + " for " + durationText(party.getForNs());
    if (party.getCount() > 1) text += fmt::format(", {} times", party.getCount());
    fields.add("held by", text);
  }
  for (const auto party : row.getWaiters()) {
    fields.add("waiting", partyText(party) + " for " + durationText(party.getForNs()));
  }
  if (row.getWaiterCount() > row.getWaiters().size()) {
    fields.add("waiting", fmt::format("and {} more", row.getWaiterCount() - row.getWaiters().size()));
  }
  if (row.getAbandoned()) fields.add("was", abandonmentText(row.getAbandonment()));
  fields.add("cycle", ipc::escape(row.getCycle().cStr()));
  fields.add("blocked by", ipc::escape(row.getBlockedBy().cStr()));
  fields.add("mode", fmt::format("{:04o}", object.getMode()));
  fields.add("last token", std::to_string(row.getLastToken()));
  print(fields.text());
}

}  // namespace

int lockList(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kList);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = tryConnect(common);
  if (common.json) {
    JsonArray array;
    if (client)
      listObjects(*client, wire::ObjectKind::LOCK,
                  [&](wire::ObjectRow::Reader object) { array.add(dump(toJson(object, false))); });
    array.finish();
    return 0;
  }
  if (!client) return 0;
  Table table({{"NAME"},
               {"KIND"},
               {"STATE"},
               {"FOR", Table::Align::right},
               {"WAITING", Table::Align::right},
               {"HELD BY"}},
              terminalWidth(1));
  listObjects(*client, wire::ObjectKind::LOCK, [&](wire::ObjectRow::Reader object) {
    const auto row = object.getLock();
    const bool held = row.getHolderCount() > 0;
    table.add({objectName(object), lockKindName(row.getOptions().getKind()), stateOf(row),
               held ? durationText(row.getHolders()[0].getForNs()) : "-",
               std::to_string(row.getWaiterCount()), holderText(row)});
  });
  print(table.take());
  return 0;
}

int lockShow(int argc, char** argv) {
  CommonOptions common;
  Arguments arguments(kShow);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  if (arguments.words().empty())
    throw Error(Code::usage, "lock show: which lock? `batonctl lock list` has their names");
  auto client = connect(common);
  JsonArray array;
  bool first = true;
  for (const std::string& name : arguments.words()) {
    const auto reply = showObject(client, wire::ObjectKind::LOCK, name);
    for (const auto object : reply.get().getObjects().getRows()) {
      if (common.json) {
        array.add(dump(toJson(object, true)));
        continue;
      }
      if (!std::exchange(first, false)) print("\n");
      printRow(object);
    }
  }
  if (common.json) array.finish();
  return 0;
}

}  // namespace baton::ctl
