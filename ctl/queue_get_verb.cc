// `batonctl queue get` and `peek`, and `ack` and `nack` of what was got with a lease.
#include <fmt/format.h>

#include <charconv>

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/queue_client.h"
#include "ctl/queue_json.h"
#include "ctl/queue_verbs.h"
#include "ctl/value_text.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr Arguments::Spec kGet{
    .verb = "queue get",
    .usage = "[OPTIONS] NAME",
    .description =
        "Take the next message out of a queue and print it; wait for one if there is none. Texts and bytes "
        "are\n"
        "printed as they are, all else as JSON. A message counts as taken when it has been written: one "
        "that\n"
        "this command was killed with goes back to the front of the queue.",
    .footer =
        "With --lease the message stays the queue's until `queue ack NAME LEASE` says that it is done with; "
        "after\n"
        "its time, or `queue nack`, it comes back. The lease is printed before the message, with a tab.\n"
        "\n"
        "Exit code: 0; 1 with -n: it is empty; 3 it is closed and empty (-f: 0, that is the end);\n"
        "124 -w ran out; 125 baton itself.\n"
        "\n"
        "Examples:\n"
        "  batonctl queue get jobs\n"
        "  batonctl queue get -f log-lines | grep ERROR\n"
        "  while job=$(batonctl queue get -w 10 jobs); do work \"$job\"; done\n"
        "  IFS=$'\\t' read -r lease job < <(batonctl queue get --lease-time 5m jobs)",
    .words = Arguments::Words::operands};

constexpr Arguments::Spec kPeek{
    .verb = "queue peek",
    .usage = "[OPTIONS] NAME",
    .description = "Print the next messages in the order in which they would be got, and leave them there.",
    .footer =
        "Exit code: 0; 1 there is none; 125 baton itself.\n"
        "\n"
        "Examples:\n"
        "  batonctl queue peek jobs\n"
        "  batonctl queue peek -c 100 --json jobs | jq '.[].attempt'",
    .words = Arguments::Words::operands};

struct GetOptions {
  bool follow = false;
  bool raw = false;
  bool nul = false;
  bool json = false;
  bool lease = false;
  bool create = false;
  std::optional<std::chrono::nanoseconds> leaseTime;
  std::uint64_t count = 1;
  WaitOptions wait;

  char end() const { return nul ? '\0' : '\n'; }
};

std::span<const std::byte> bytesOf(capnp::Data::Reader data) {
  return std::as_bytes(std::span(data.begin(), data.size()));
}

void printMessage(wire::QueueMessage::Reader message, const GetOptions& options) {
  if (options.json) {
    print(toJson(message) + '\n');
    return;
  }
  if (options.lease) print(fmt::format("{}\t", message.getLease()));
  print(MessageValue(bytesOf(message.getValue())).plain());
  if (!options.raw) print(std::string_view(&"\n\0"[options.nul ? 1 : 0], 1));
}

std::uint32_t mostAtOnce(std::uint64_t left) {
  constexpr std::uint64_t kFollowed = 1'000;
  return static_cast<std::uint32_t>(std::min(left, kFollowed));
}

int getAll(QueueClient& queue, const GetOptions& options) {
  std::uint64_t left = options.follow && options.count == 1 ? ~std::uint64_t{0} : options.count;
  while (left > 0) {
    const auto frame =
        queue.get({.max = mostAtOnce(left),
                   .timeoutNs = options.wait.timeoutNs(),
                   .lease = options.lease,
                   .leaseNs = options.leaseTime ? static_cast<std::uint64_t>(options.leaseTime->count()) : 0,
                   .detached = options.lease});
    const auto reply = frame.get().getQueueMessages();
    if (reply.getOutcome() != wire::QueueOutcome::DONE) {
      if (reply.getOutcome() == wire::QueueOutcome::CLOSED && options.follow) return 0;
      return queue.codeOf(reply.getOutcome(), options.wait);
    }
    for (const auto message : reply.getMessages()) printMessage(message, options);
    flushOutput();
    left -= reply.getMessages().size();
    // Only what has been written was taken.
    if (!options.lease) queue.took(reply.getMessages().size());
  }
  queue.sendTaken();
  return 0;
}

std::vector<std::uint64_t> leasesOf(const Arguments& arguments, const char* verb) {
  std::vector<std::uint64_t> leases;
  for (std::size_t i = 1; i < arguments.words().size(); ++i) {
    const std::string& word = arguments.words()[i];
    std::uint64_t lease = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), lease);
    if (error != std::errc() || end != word.data() + word.size()) {
      throw Error(Code::usage, "no lease: " + word + "; `queue get --lease` prints them");
    }
    leases.push_back(lease);
  }
  if (leases.empty()) {
    throw Error(Code::usage, std::string("queue ") + verb + ": which lease? `queue get --lease` prints them");
  }
  return leases;
}

int settle(const CommonOptions& common, const Arguments& arguments, const char* verb,
           QueueClient::Action action, std::uint64_t ns) {
  const std::string& name = queueName(arguments, verb);
  const auto leases = leasesOf(arguments, verb);
  QueueClient queue(common, name, false);
  const std::uint64_t id = queue.sendSettle(leases, action, ns);
  while (true) {
    const auto frame = queue.client().receive();
    if (frame->get().getId() != id) continue;
    ipc::throwIfError(frame->get());
    const auto unknown = frame->get().getSettled().getUnknown();
    for (const std::uint64_t lease : unknown) {
      complain("lease " + std::to_string(lease) + " is over: its message went back, or was settled before");
    }
    return unknown.size() == 0 ? 0 : kExitNotToBeHad;
  }
}

}  // namespace

int queueGetVerb(int argc, char** argv) {
  GetOptions options;
  CommonOptions common;
  Arguments arguments(kGet);
  arguments.flag("-f,--follow", "go on until the queue is closed", options.follow);
  arguments.number("-c,--count", "N", "so many messages, each waited for", 1, INT64_MAX, options.count);
  options.wait.declare(arguments, "wait at most so long for each message");
  arguments.flag("--raw", "print the bytes of texts and data alone, without a line's end", options.raw);
  arguments.flag("-0,--null", "end each with NUL instead of a line's end", options.nul);
  arguments.flag("--lease", "acknowledge later", options.lease);
  arguments.option("--lease-time", "DURATION", "the same, for so long instead of the queue's time",
                   options.leaseTime);
  arguments.flag("--create", "make the queue if it is absent", options.create);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  options.wait.check();
  options.json = common.json;
  options.lease = options.lease || options.leaseTime;
  const std::string& name = queueName(arguments, "get");
  if (arguments.words().size() > 1) throw Error(Code::usage, "queue get: one name, please");
  QueueClient queue(common, name, options.create);
  return getAll(queue, options);
}

int queuePeekVerb(int argc, char** argv) {
  GetOptions options;
  CommonOptions common;
  Arguments arguments(kPeek);
  arguments.number("-c,--count", "N", "so many messages (1)", 1, 10'000, options.count);
  arguments.flag("--raw", "print the bytes of texts and data alone, without a line's end", options.raw);
  arguments.flag("-0,--null", "end each with NUL instead of a line's end", options.nul);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  QueueClient queue(common, queueName(arguments, "peek"), false);
  JsonArray array;
  std::uint64_t shown = 0;
  for (std::uint64_t after = 0; shown < options.count;) {
    ipc::Message request;
    auto peek = request.frame().initQueuePeek();
    peek.setQueue(queue.handle());
    peek.setMax(static_cast<std::uint32_t>(std::min<std::uint64_t>(options.count - shown, 1'000)));
    peek.setAfter(after);
    const auto frame = queue.client().call(request);
    const auto messages = frame.get().getQueueMessages().getMessages();
    if (messages.size() == 0) break;
    for (const auto message : messages) {
      if (common.json) {
        array.add(toJson(message));
      } else {
        printMessage(message, options);
      }
      after = message.getId();
    }
    shown += messages.size();
  }
  if (common.json) array.finish();
  return shown > 0 ? 0 : kExitNotToBeHad;
}

int queueAckVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "queue ack",
      .usage = "NAME LEASE...",
      .description = "Done with messages that `queue get --lease` printed.",
      .footer =
          "Exit code: 0; 1 a lease was over, and its message is somebody else's.\n"
          "\n"
          "Examples:\n"
          "  batonctl queue ack jobs \"$lease\"",
      .words = Arguments::Words::operands};
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  return settle(common, arguments, "ack", QueueClient::Action::ACK, 0);
}

int queueNackVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{.verb = "queue nack",
                                  .usage = "[OPTIONS] NAME LEASE...",
                                  .description =
                                      "Give messages back that `queue get --lease` printed: to the front of "
                                      "the queue, or later. It counts as\n"
                                      "an attempt.",
                                  .footer =
                                      "Exit code: 0; 1 a lease was over.\n"
                                      "\n"
                                      "Examples:\n"
                                      "  batonctl queue nack --delay 1m jobs \"$lease\"",
                                  .words = Arguments::Words::operands};
  CommonOptions common;
  std::optional<std::chrono::nanoseconds> delay;
  Arguments arguments(kSpec);
  arguments.option("--delay", "DURATION", "not to be had again before", delay);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  return settle(common, arguments, "nack", QueueClient::Action::NACK,
                delay ? static_cast<std::uint64_t>(delay->count()) : 0);
}

}  // namespace baton::ctl
