// `batonctl queue`: its verbs, and those of them that change or look at a queue as a whole.
#include <fmt/format.h>

#include "ctl/noun.h"
#include "ctl/object_text.h"
#include "ctl/output.h"
#include "ctl/queue_client.h"
#include "ctl/queue_verbs.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr NounVerb kVerbs[] = {
    {"list", "the queues there are", queueListVerb},
    {"show", "all there is to know of a queue: who waits, who has what", queueShowVerb},
    {"create", "make a queue, with bounds and policies", queueCreateVerb},
    {"rm", "remove queues", queueRemoveVerb},
    {"put", "put messages into a queue: words, lines, or JSON", queuePutVerb},
    {"get", "take messages out of a queue, or follow it", queueGetVerb},
    {"run", "run a command on the pool for each message", queueRunVerb},
    {"ack", "done with messages got with --lease", queueAckVerb},
    {"nack", "give messages got with --lease back", queueNackVerb},
    {"peek", "look at the next messages without taking them", queuePeekVerb},
    {"close", "refuse puts; gets go on until it is empty", queueCloseVerb},
    {"pause", "let gets wait", queuePauseVerb},
    {"resume", "let gets go on", queueResumeVerb},
    {"purge", "throw the waiting messages away", queuePurgeVerb},
};

// A verb whose words are queues, each of which gets one order.
int controlVerb(const Arguments::Spec& spec, const char* verb, wire::QueueControl::Action action, int argc,
                char** argv) {
  CommonOptions common;
  Arguments arguments(spec);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  static_cast<void>(queueName(arguments, verb));
  for (const std::string& name : arguments.words()) QueueClient(common, name, false).control(action);
  return 0;
}

wire::FullPolicy policyOf(const std::string& text) {
  if (text == "block") return wire::FullPolicy::BLOCK;
  if (text == "reject") return wire::FullPolicy::REJECT;
  if (text == "drop-oldest") return wire::FullPolicy::DROP_OLDEST;
  throw Error(Code::usage, "--full " + text + ": expected block, reject or drop-oldest");
}

}  // namespace

int queueVerb(int argc, char** argv) {
  constexpr Noun kNoun{
      .name = "queue",
      .description =
          "Named queues: any program puts messages in, any takes them out, and a killed one loses none.\n"
          "A name is letters, digits and . _ @ / + -; OWNER:NAME is another user's queue.",
      .footer =
          "Examples:\n"
          "  batonctl queue put --create jobs one two three\n"
          "  batonctl queue get jobs\n"
          "  batonctl queue run jobs -- gzip {}     # on the pool; acknowledged when gzip succeeds\n"
          "  batonctl queue show jobs",
      .verbs = kVerbs};
  return callNoun(kNoun, argc, argv);
}

int queueCreateVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "queue create",
      .usage = "[OPTIONS] NAME",
      .description = "Make a queue. It lives until `queue rm`, or until the daemon ends.",
      .footer =
          "What was handed out too often (--attempts: its consumer died, gave it back, or let its lease end) "
          "goes\n"
          "to the queue of --dead-letters, which is made if it is absent and takes it even when full; "
          "without one\n"
          "it is dropped, and counted.\n"
          "\n"
          "Examples:\n"
          "  batonctl queue create jobs\n"
          "  batonctl queue create --max-messages 100 --full reject mail\n"
          "  batonctl queue create --attempts 5 --dead-letters failed --lease 2m jobs\n"
          "  batonctl queue create --full drop-oldest --max-messages 1 newest-state",
      .words = Arguments::Words::operands};
  CommonOptions common;
  bool existOk = false;
  std::optional<std::uint64_t> maxMessages;
  std::optional<std::uint64_t> maxBytes;
  std::optional<std::uint32_t> attempts;
  std::optional<std::string> full;
  std::optional<std::string> mode;
  std::string deadLetters;
  std::optional<std::chrono::nanoseconds> lease;
  Arguments arguments(kSpec);
  arguments.number("--max-messages", "N", "waiting messages at most (10,000)", 1, INT64_MAX, maxMessages);
  arguments.option("--max-bytes", "SIZE", "bytes of waiting messages at most (64M)",
                   [&](const std::string& text) { maxBytes = ipc::sizeOf("--max-bytes", text); });
  arguments.option("--full", "POLICY", "when full: block (put waits), reject, drop-oldest", full);
  arguments.number("--attempts", "N", "deliveries after which a message is dead", 1, 1'000'000, attempts);
  arguments.option("--dead-letters", "QUEUE", "where dead messages go", deadLetters);
  arguments.option("--lease", "DURATION", "how long a lease lasts that tells nothing else (30s)", lease);
  arguments.option("--mode", "BITS", "permissions, as of a file (0600)", mode);
  arguments.flag("--exist-ok", "no error if it is there already, whatever its options", existOk);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  const std::string& name = queueName(arguments, "create");
  if (arguments.words().size() > 1) throw Error(Code::usage, "queue create: one name, please");
  auto client = connectOrStart(common);
  openQueue(client, name, [&](wire::QueueOpen::Builder open) {
    auto creation = open.initCreation();
    creation.setCreate(true);
    creation.setExclusive(!existOk);
    if (mode) creation.setMode(modeOf(*mode));
    auto options = open.initOptions();
    if (maxMessages) options.setMaxMessages(*maxMessages);
    if (maxBytes) options.setMaxBytes(*maxBytes);
    if (full) options.setWhenFull(policyOf(*full));
    if (attempts) options.setMaxAttempts(*attempts);
    options.setDeadLetters(deadLetters);
    if (lease) options.setLeaseNs(static_cast<std::uint64_t>(lease->count()));
  });
  return 0;
}

int queueRemoveVerb(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "queue rm",
      .usage = "[OPTIONS] NAME...",
      .description = "Remove queues. One that has messages, or that others have open, only with --force.",
      .footer =
          "Examples:\n"
          "  batonctl queue rm jobs\n"
          "  batonctl queue rm -f jobs failed    # with all that is in them; who waits is told",
      .words = Arguments::Words::operands};
  CommonOptions common;
  bool force = false;
  Arguments arguments(kSpec);
  arguments.flag("-f,--force", "though it is in use or has messages", force);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  static_cast<void>(queueName(arguments, "rm"));
  auto client = connect(common);
  removeObjects(client, wire::ObjectKind::QUEUE, arguments.words(), force);
  return 0;
}

int queueCloseVerb(int argc, char** argv) {
  return controlVerb(
      {.verb = "queue close",
       .usage = "NAME...",
       .description = "Refuse puts from now on. Gets go on until the queue is empty and nothing can come\n"
                      "back to it; then they report that it is closed (exit code 3).",
       .footer = "Examples:\n  batonctl queue close jobs    # consumers finish, then end",
       .words = Arguments::Words::operands},
      "close", wire::QueueControl::Action::CLOSE, argc, argv);
}

int queuePauseVerb(int argc, char** argv) {
  return controlVerb({.verb = "queue pause",
                      .usage = "NAME...",
                      .description = "Let gets wait, as if the queue were empty. Puts go on.",
                      .footer = "Examples:\n  batonctl queue pause jobs",
                      .words = Arguments::Words::operands},
                     "pause", wire::QueueControl::Action::PAUSE, argc, argv);
}

int queueResumeVerb(int argc, char** argv) {
  return controlVerb({.verb = "queue resume",
                      .usage = "NAME...",
                      .description = "Undo `queue pause`.",
                      .footer = "Examples:\n  batonctl queue resume jobs",
                      .words = Arguments::Words::operands},
                     "resume", wire::QueueControl::Action::RESUME, argc, argv);
}

int queuePurgeVerb(int argc, char** argv) {
  return controlVerb(
      {.verb = "queue purge",
       .usage = "NAME...",
       .description = "Throw away all messages that wait, delayed ones too. What is handed out stays\n"
                      "with who has it.",
       .footer = "Examples:\n  batonctl queue purge jobs",
       .words = Arguments::Words::operands},
      "purge", wire::QueueControl::Action::PURGE, argc, argv);
}

}  // namespace baton::ctl
