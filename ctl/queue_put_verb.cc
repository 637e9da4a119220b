// `batonctl queue put`.
#include <unistd.h>

#include <cerrno>

#include "ctl/output.h"
#include "ctl/queue_client.h"
#include "ctl/queue_verbs.h"
#include "ctl/value_text.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr Arguments::Spec kSpec{
    .verb = "queue put",
    .usage = "[OPTIONS] NAME MESSAGE...",
    .description =
        "Put messages into a queue, in order, each word one. `-` stands for the lines of standard input.\n"
        "A word is a text; --json makes it what it says in JSON, --raw plain bytes. A full queue is waited "
        "for.",
    .footer =
        "With --json, what JSON lacks is written {\"$data\": BASE64}, {\"$float\": \"nan\"}; docs/json.md "
        "has all.\n"
        "\n"
        "Exit code: 0 all are in the queue; 1 with -n: it is full; 3 it is closed; 124 -w ran out; 125 "
        "baton\n"
        "itself. What went in before stays in; a line tells how many.\n"
        "\n"
        "Examples:\n"
        "  batonctl queue put jobs one two 'three and four'\n"
        "  find . -name '*.wav' -print0 | batonctl queue put -0 jobs -\n"
        "  batonctl queue put --json jobs '{\"url\": \"http://example.org\", \"tries\": 3}'\n"
        "  batonctl queue put --raw images - < picture.png    # all of stdin is one message\n"
        "  batonctl queue put -n jobs late || echo full",
    .words = Arguments::Words::operands};

// One frame's worth: some ten system calls for a million short lines.
constexpr std::size_t kBatchBytes = std::size_t{128} << 10;
constexpr std::size_t kBatchMessages = 2'000;
constexpr std::size_t kReadBytes = std::size_t{64} << 10;

struct Options {
  bool json = false;
  bool raw = false;
  bool nul = false;
  bool create = false;
  int priority = 0;
  std::optional<std::chrono::nanoseconds> delay;
  WaitOptions wait;
};

class Putter {
 public:
  Putter(QueueClient& queue, const Options& options) : queue_(queue), options_(options) {}

  void add(std::string_view text) {
    auto value = encode(valueOf(text));
    if (value.size() > queue_.maxValueBytes()) {
      throw Error(Code::tooLarge, "message " + std::to_string(seen_ + 1) + " takes " +
                                      std::to_string(value.size()) + " bytes; at most " +
                                      std::to_string(queue_.maxValueBytes()) + " fit");
    }
    ++seen_;
    if (!batch_.empty() && bytes_ + value.size() > kBatchBytes) flush();
    if (failed()) return;
    bytes_ += value.size();
    const std::uint64_t delay = options_.delay ? static_cast<std::uint64_t>(options_.delay->count()) : 0;
    batch_.push_back({std::move(value), options_.priority, delay});
    if (batch_.size() == kBatchMessages) flush();
  }

  void flush() {
    if (batch_.empty() || failed()) return;
    const auto result = queue_.put(batch_, options_.wait.timeoutNs());
    done_ += result.accepted;
    outcome_ = result.outcome;
    batch_.clear();
    bytes_ = 0;
  }

  bool failed() const { return outcome_ != ipc::wire::QueueOutcome::DONE; }

  // After the last flush().
  int code() const {
    if (failed() && done_ > 0) {
      complain(std::to_string(done_) + (done_ == 1 ? " message is" : " messages are") +
               " in the queue, the others are not");
    }
    return queue_.codeOf(outcome_, options_.wait);
  }

 private:
  Value valueOf(std::string_view text) const {
    if (options_.json) return valueOfJson(text);
    if (!options_.raw) return valueOfText(text);
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    return Value::Data(bytes, bytes + text.size());
  }

  QueueClient& queue_;
  const Options& options_;
  std::vector<QueueClient::NewMessage> batch_;
  std::size_t bytes_ = 0;
  std::uint64_t seen_ = 0;
  std::uint64_t done_ = 0;
  ipc::wire::QueueOutcome outcome_ = ipc::wire::QueueOutcome::DONE;
};

// Appends what comes. False: end of file.
bool readSome(std::string& buffer) {
  const std::size_t before = buffer.size();
  buffer.resize(before + kReadBytes);
  ssize_t got = 0;
  do {
    got = ::read(STDIN_FILENO, buffer.data() + before, kReadBytes);
  } while (got < 0 && errno == EINTR);
  if (got < 0) throwErrno("cannot read standard input");
  buffer.resize(before + static_cast<std::size_t>(got));
  return got > 0;
}

// What has come is put before more is waited for.
void putLines(Putter& putter, char end, std::size_t mostBytes) {
  std::string buffer;
  std::size_t begin = 0;
  while (readSome(buffer) && !putter.failed()) {
    for (std::size_t at = buffer.find(end, begin); at != buffer.npos; at = buffer.find(end, begin)) {
      putter.add(std::string_view(buffer).substr(begin, at - begin));
      begin = at + 1;
    }
    putter.flush();
    buffer.erase(0, std::exchange(begin, 0));
    if (buffer.size() > mostBytes)
      throw Error(Code::tooLarge,
                  "a line is too long for a message: at most " + std::to_string(mostBytes) + " bytes fit");
  }
  if (!buffer.empty()) putter.add(buffer);
}

void putAll(Putter& putter, std::size_t mostBytes) {
  std::string buffer;
  while (readSome(buffer)) {
    if (buffer.size() > mostBytes)
      throw Error(Code::tooLarge, "standard input is too much for one message: at most " +
                                      std::to_string(mostBytes) + " bytes fit");
  }
  putter.add(buffer);
}

}  // namespace

int queuePutVerb(int argc, char** argv) {
  Options options;
  CommonOptions common;
  Arguments arguments(kSpec);
  arguments.flag("--json", "messages are JSON", options.json);
  arguments.flag("--raw", "messages are bytes; `-` is one, all of standard input", options.raw);
  arguments.flag("-0,--null", "with `-`: messages end with NUL, not with the line", options.nul);
  arguments.number("-p,--priority", "N", "the higher goes first: -1000 to 1000", -1000, 1000,
                   options.priority);
  arguments.option("--delay", "DURATION", "not to be had before", options.delay);
  arguments.flag("--create", "make the queue if it is absent", options.create);
  options.wait.declare(arguments, "wait at most so long for room");
  arguments.common(common, Arguments::Json::own);
  if (!arguments.parse(argc, argv)) return 0;
  options.wait.check();
  if (options.json && options.raw) throw Error(Code::usage, "--json and --raw contradict each other");
  const std::string& name = queueName(arguments, "put");
  if (arguments.words().size() < 2) {
    throw Error(Code::usage, "queue put: which messages? Give words, or `-` for the lines of standard input");
  }
  QueueClient queue(common, name, options.create);
  Putter putter(queue, options);
  for (std::size_t i = 1; i < arguments.words().size() && !putter.failed(); ++i) {
    const std::string& word = arguments.words()[i];
    if (word != "-") {
      putter.add(word);
    } else if (options.raw) {
      putAll(putter, queue.maxValueBytes());
    } else {
      putLines(putter, options.nul ? '\0' : '\n', queue.maxValueBytes());
    }
  }
  putter.flush();
  return putter.code();
}

}  // namespace baton::ctl
