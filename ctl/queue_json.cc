#include "ctl/queue_json.h"

#include <fmt/format.h>

#include "ctl/object_json.h"
#include "ctl/object_text.h"
#include "ctl/value_text.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

Json parties(capnp::List<wire::Party>::Reader list, bool withCount) {
  Json array = Json::array();
  for (const auto party : list) {
    Json json = partyJson(party);
    if (withCount) json["messages"] = party.getCount();
    array.push_back(std::move(json));
  }
  return array;
}

}  // namespace

std::string toJson(wire::QueueMessage::Reader message) {
  Json json;
  json["id"] = message.getId();
  json["priority"] = message.getPriority();
  json["attempt"] = message.getAttempt();
  json["lease"] = orNull(message.getLease());
  json["put_at"] = secondsOrNull(message.getPutNs());
  // The value is JSON already.
  std::string text = dump(json);
  const auto data = message.getValue();
  text.back() = ',';
  return text + "\"value\":" + MessageValue(std::as_bytes(std::span(data.begin(), data.size()))).json() + "}";
}

std::string queueJson(wire::ObjectRow::Reader row, bool all) {
  const auto queue = row.getQueue();
  const auto options = queue.getOptions();
  Json json = objectJson(row);
  json["ready"] = queue.getReady();
  json["delayed"] = queue.getDelayed();
  json["leased"] = queue.getLeased();
  json["unfinished"] = queue.getUnfinished();
  json["bytes"] = queue.getBytes();
  json["paused"] = queue.getPaused();
  json["closed"] = queue.getClosed();
  json["oldest_seconds"] = queue.getReady() == 0 ? Json() : seconds(queue.getOldestNs());
  json["put_ever"] = queue.getPutEver();
  json["got_ever"] = queue.getGotEver();
  json["acked_ever"] = queue.getAckedEver();
  json["redelivered_ever"] = queue.getRedeliveredEver();
  json["dropped_ever"] = queue.getDroppedEver();
  json["dead_ever"] = queue.getDeadEver();
  json["put_rate"] = queue.getPutRate();
  json["get_rate"] = queue.getGetRate();
  json["waiting_putters"] = queue.getWaitingPutters();
  json["waiting_getters"] = queue.getWaitingGetters();
  json["max_messages"] = options.getMaxMessages();
  json["max_bytes"] = options.getMaxBytes();
  json["when_full"] = policyName(options.getWhenFull());
  json["max_attempts"] = orNull(options.getMaxAttempts());
  json["dead_letters"] = textOrNull(view(options.getDeadLetters()));
  json["lease_seconds"] = seconds(options.getLeaseNs());
  if (all) {
    json["putters"] = parties(queue.getPutters(), false);
    json["getters"] = parties(queue.getGetters(), false);
    json["leasers"] = parties(queue.getLeasers(), true);
    json["opened_by"] = parties(row.getUsers(), true);
  }
  return dump(json);
}

}  // namespace baton::ctl
