#include "ctl/queue_run.h"

#include <unistd.h>

#include <algorithm>

#include "ctl/context_source.h"
#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ctl/value_text.h"
#include "ipc/error.h"
#include "ipc/parcel.h"
#include "shm/memfd.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

constexpr std::uint64_t kForever = ~std::uint64_t{0};

std::string replaced(const std::string& word, const std::string& value) {
  std::string text;
  std::size_t begin = 0;
  for (std::size_t at = word.find("{}"); at != word.npos; at = word.find("{}", begin)) {
    text.append(word, begin, at - begin).append(value);
    begin = at + 2;
  }
  return text.append(word, begin);
}

}  // namespace

QueueRun::QueueRun(QueueClient& queue, const QueueRunOptions& options)
    : queue_(queue), options_(options), surroundings_(options.task.surroundings()) {
  const auto hello = queue.client().hello();
  const std::uint32_t slots = std::max(1U, hello.getSlots() / std::max(1U, options.task.slots));
  const std::uint32_t wanted = options.jobs.resolve(slots);
  most_ = wanted == 0 ? (options.task.io ? hello.getIoTasks() : slots) : wanted;
}

int QueueRun::run() {
  while (true) {
    askForMore();
    if (getRequest_ == 0 && running_.empty()) return std::max(highest_, endCode_);
    flushOutput();
    const auto frame = queue_.client().receive();
    const auto reader = frame->get();
    if (reader.isNotice()) {
      complain(reader.getNotice().cStr());
    } else if (reader.getId() == getRequest_) {
      getRequest_ = 0;
      ipc::throwIfError(reader);
      takeMessages(reader.getQueueMessages());
    } else if (reader.isEnded()) {
      ended(reader.getId(), reader.getEnded());
    } else if (reader.isError()) {
      // Of a task that was not taken, or of an acknowledgement: the messages come back when this ends.
      ipc::throwIfError(reader);
    }
  }
}

void QueueRun::askForMore() {
  if (noMore_ || idle_ || getRequest_ != 0 || running_.size() >= most_) return;
  getRequest_ = queue_.sendGet({.max = static_cast<std::uint32_t>(most_ - running_.size()),
                                .timeoutNs = options_.wait.timeoutNs(),
                                .lease = true,
                                .leaseNs = kForever,
                                .detached = false});
}

void QueueRun::takeMessages(wire::QueueMessages::Reader reply) {
  switch (reply.getOutcome()) {
    case wire::QueueOutcome::DONE:
      for (const auto message : reply.getMessages()) start(message);
      return;
    case wire::QueueOutcome::EMPTY:
    case wire::QueueOutcome::TIMED_OUT:
      idle_ = true;
      return;
    case wire::QueueOutcome::CLOSED:
      noMore_ = true;
      return;
    default:
      noMore_ = true;
      complain("queue " + queue_.name() + " was removed");
      endCode_ = kExitBaton;
  }
}

void QueueRun::start(wire::QueueMessage::Reader message) {
  const auto bytes = message.getValue();
  const std::string plain = MessageValue(std::as_bytes(std::span(bytes.begin(), bytes.size()))).plain();
  std::vector<std::string> argv;
  for (const std::string& word : options_.command) argv.push_back(replaced(word, plain));
  if (std::any_of(argv.begin(), argv.end(), [](const auto& word) { return word.find('\0') != word.npos; })) {
    complain("message " + std::to_string(message.getId()) +
             " has a NUL, which no argument can hold; leave {} out and read it from stdin");
    highest_ = std::max(highest_, kExitBaton);
    settle(message.getLease(), false);
    return;
  }
  const std::string input = options_.raw ? plain : plain + "\n";
  const shm::Fd standardInput = shm::sealedMemfd(std::as_bytes(std::span(input)));
  auto ends = ipc::makeParcel();
  ipc::sendStandardFds(ends.first.get(), {standardInput.get(), STDOUT_FILENO, STDERR_FILENO}, 0);
  ipc::Message request;
  request.attach(shm::Fd(ends.second.release()));
  auto submit = request.frame().initSubmit();
  auto options = submit.initOptions();
  options_.task.fill(options);
  options.setOutput(wire::OutputMode::PARCEL);
  writeArgv(argv, submit.initArgv(static_cast<unsigned>(argv.size())));
  submit.setAttached(true);
  writeContextSource(surroundings_, submit.initContext(), request);
  running_[queue_.client().send(request)] = message.getLease();
}

void QueueRun::ended(std::uint64_t request, wire::TaskRow::Reader row) {
  const auto found = running_.find(request);
  if (found == running_.end()) return;
  const std::uint64_t lease = found->second;
  running_.erase(found);
  idle_ = false;
  const Outcome outcome = outcomeOf(row);
  if (!outcome.line.empty()) complain(outcome.line);
  highest_ = std::max(highest_, outcome.code);
  settle(lease, outcome.code == 0);
}

void QueueRun::settle(std::uint64_t lease, bool success) {
  if (success) {
    queue_.sendSettle({lease}, QueueClient::Action::ACK, 0);
    return;
  }
  queue_.sendSettle({lease}, QueueClient::Action::NACK,
                    options_.delay ? static_cast<std::uint64_t>(options_.delay->count()) : 0);
}

}  // namespace baton::ctl
