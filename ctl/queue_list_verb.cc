// `batonctl queue list` and `show`.
#include <fmt/format.h>

#include "ctl/object_text.h"
#include "ctl/output.h"
#include "ctl/queue_client.h"
#include "ctl/queue_json.h"
#include "ctl/queue_verbs.h"
#include "ctl/row_text.h"
#include "ctl/table.h"
#include "ipc/escape.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

std::string rateText(double rate) {
  if (rate == 0) return "-";
  return rate < 10 ? fmt::format("{:.1f}/s", rate) : fmt::format("{:.0f}/s", rate);
}

std::string countText(std::uint64_t count) {
  return count == 0 ? "-" : std::to_string(count);
}

std::string stateText(wire::QueueRow::Reader queue) {
  std::string text;
  const auto add = [&](bool is, const char* word) {
    if (is) text += (text.empty() ? "" : ", ") + std::string(word);
  };
  add(queue.getClosed(), "closed");
  add(queue.getPaused(), "paused");
  add(queue.getWaitingPutters() > 0, "full");
  return text.empty() ? "open" : text;
}

void printQueues(ipc::Client& client) {
  Table table({{"NAME"},
               {"READY", Table::Align::right},
               {"DELAYED", Table::Align::right},
               {"LEASED", Table::Align::right},
               {"BYTES", Table::Align::right},
               {"IN", Table::Align::right},
               {"OUT", Table::Align::right},
               {"OLDEST", Table::Align::right},
               {"PUTTERS", Table::Align::right},
               {"GETTERS", Table::Align::right},
               {"STATE"}},
              terminalWidth(1));
  listObjects(client, wire::ObjectKind::QUEUE, [&](wire::ObjectRow::Reader row) {
    const auto queue = row.getQueue();
    table.add({objectName(row), std::to_string(queue.getReady()), countText(queue.getDelayed()),
               countText(queue.getLeased()), ipc::formatSize(queue.getBytes()), rateText(queue.getPutRate()),
               rateText(queue.getGetRate()), queue.getReady() == 0 ? "-" : durationText(queue.getOldestNs()),
               countText(queue.getWaitingPutters()), countText(queue.getWaitingGetters()), stateText(queue)});
  });
  print(table.take());
}

// Each on a line of its own.
void addParties(Fields& fields, const std::string& key, capnp::List<wire::Party>::Reader parties,
                bool withCount) {
  for (const auto party : parties) {
    if (withCount && party.getCount() == 0) continue;
    std::string text = partyText(party);
    if (withCount) text += fmt::format(", {} messages", party.getCount());
    if (party.getForNs() > 0) text += ", for " + durationText(party.getForNs());
    fields.add(key, text);
  }
}

void printQueue(wire::ObjectRow::Reader row) {
  const auto queue = row.getQueue();
  const auto options = queue.getOptions();
  Fields fields;
  fields.add("queue", objectName(row));
  fields.add("state", stateText(queue));
  fields.add("waiting", fmt::format("{} messages ready, {} delayed", queue.getReady(), queue.getDelayed()));
  fields.add("handed out", countText(queue.getLeased()));
  fields.add("unfinished", countText(queue.getUnfinished()));
  fields.add("size", ipc::formatSize(queue.getBytes()));
  if (queue.getReady() > 0) fields.add("oldest", durationText(queue.getOldestNs()));
  fields.add("rates", fmt::format("{} in, {} out, over the last minute", rateText(queue.getPutRate()),
                                  rateText(queue.getGetRate())));
  fields.add("ever", fmt::format("{} put, {} got, {} acknowledged, {} redelivered, {} dropped, {} dead",
                                 queue.getPutEver(), queue.getGotEver(), queue.getAckedEver(),
                                 queue.getRedeliveredEver(), queue.getDroppedEver(), queue.getDeadEver()));
  fields.add("bounds",
             fmt::format("{} messages, {}; when full: {}", options.getMaxMessages(),
                         ipc::formatSize(options.getMaxBytes()), policyName(options.getWhenFull())));
  if (options.getMaxAttempts() > 0) {
    fields.add("attempts", fmt::format("{}, then {}", options.getMaxAttempts(),
                                       options.getDeadLetters().size() == 0
                                           ? std::string("dropped")
                                           : "to queue " + ipc::escape(options.getDeadLetters().cStr())));
  }
  fields.add("lease", durationText(options.getLeaseNs()));
  fields.add("mode", modeText(row.getMode()));
  fields.add("created", calendarText(row.getCreatedNs()));
  addParties(fields, "puts wait", queue.getPutters(), false);
  addParties(fields, "gets wait", queue.getGetters(), false);
  addParties(fields, "held by", queue.getLeasers(), true);
  addParties(fields, "open in", row.getUsers(), false);
  print(fields.text());
}

}  // namespace

int queueListVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "queue list",
      .usage = "[OPTIONS]",
      .description = "The queues that you may look at, and what waits in them.",
      .footer =
          "Examples:\n"
          "  batonctl queue list\n"
          "  batonctl queue list --json | jq -r '.[] | select(.ready > 100) | .name'",
      .words = Arguments::Words::none};
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = tryConnect(common);
  if (!common.json) {
    if (client) printQueues(*client);
    return 0;
  }
  JsonArray array;
  if (client) {
    listObjects(*client, wire::ObjectKind::QUEUE,
                [&](wire::ObjectRow::Reader row) { array.add(queueJson(row, false)); });
  }
  array.finish();
  return 0;
}

int queueShowVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "queue show",
      .usage = "[OPTIONS] NAME...",
      .description =
          "All there is to know of a queue: what waits, how fast it goes, its bounds, who\n"
          "waits for it, and who holds messages since when.",
      .footer =
          "Examples:\n"
          "  batonctl queue show jobs\n"
          "  batonctl queue show --json jobs | jq '.[0].leasers'",
      .words = Arguments::Words::operands};
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  static_cast<void>(queueName(arguments, "show"));
  auto client = connect(common);
  JsonArray array;
  bool first = true;
  for (const std::string& name : arguments.words()) {
    const auto frame = showObject(client, wire::ObjectKind::QUEUE, name);
    const auto row = frame.get().getObjects().getRows()[0];
    if (common.json) {
      array.add(queueJson(row, true));
    } else {
      if (!first) print("\n");
      printQueue(row);
    }
    first = false;
  }
  if (common.json) array.finish();
  return 0;
}

}  // namespace baton::ctl
