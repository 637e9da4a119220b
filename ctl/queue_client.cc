#include "ctl/queue_client.h"

#include "ctl/exit_code.h"
#include "ctl/output.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

}  // namespace

void WaitOptions::declare(Arguments& arguments, const char* forWhat) {
  arguments.flag("-n,--no-wait", "do not wait: exit 1", refuse);
  arguments.option("-w,--timeout", "DURATION", forWhat, atMost);
  arguments.number("-E,--busy-code", "N", "exit N instead of 1 with -n", 0, 255, busyCode);
}

void WaitOptions::check() const {
  if (refuse && atMost) throw Error(Code::usage, "-n and -w contradict each other");
}

std::uint64_t WaitOptions::timeoutNs() const {
  if (refuse) return 0;
  return atMost ? static_cast<std::uint64_t>(atMost->count()) : ~std::uint64_t{0};
}

const std::string& queueName(const Arguments& arguments, const char* verb) {
  if (arguments.words().empty()) {
    throw Error(Code::usage, std::string("queue ") + verb + ": which queue? `batonctl queue " + verb +
                                 " --help` explains");
  }
  return arguments.words().front();
}

ipc::ReceivedFrame openQueue(ipc::Client& client, const std::string& name,
                             const std::function<void(wire::QueueOpen::Builder)>& fill) {
  ipc::Message request;
  auto open = request.frame().initQueueOpen();
  open.setName(name);
  if (fill) fill(open);
  return client.call(request);
}

QueueClient::QueueClient(const CommonOptions& common, const std::string& name, bool create)
    : name_(name), client_(create ? connectOrStart(common) : connect(common)) {
  const auto reply = openQueue(client_, name, [&](wire::QueueOpen::Builder open) {
    if (create) open.initCreation().setCreate(true);
  });
  handle_ = reply.get().getQueueOpened().getHandle();
  maxValueBytes_ = client_.hello().getMaxFrameBytes() - kAroundValue;
}

QueueClient::PutResult QueueClient::put(const std::vector<NewMessage>& messages, std::uint64_t timeoutNs) {
  ipc::Message request;
  auto put = request.frame().initQueuePut();
  put.setQueue(handle_);
  put.setTimeoutNs(timeoutNs);
  auto list = put.initMessages(static_cast<unsigned>(messages.size()));
  for (unsigned i = 0; i < list.size(); ++i) {
    const auto& value = messages[i].value;
    list[i].setValue({reinterpret_cast<const kj::byte*>(value.data()), value.size()});
    list[i].setPriority(messages[i].priority);
    list[i].setDelayNs(messages[i].delayNs);
  }
  const auto reply = client_.call(request);
  return {reply.get().getQueuePutReply().getAccepted(), reply.get().getQueuePutReply().getOutcome()};
}

std::uint64_t QueueClient::sendGet(const Get& asked) {
  ipc::Message request;
  auto get = request.frame().initQueueGet();
  get.setQueue(handle_);
  get.setMax(asked.max);
  get.setTimeoutNs(asked.timeoutNs);
  get.setLease(asked.lease);
  get.setLeaseNs(asked.leaseNs);
  get.setDetached(asked.detached);
  get.setTaken(taken_);
  told_ = taken_;
  return client_.send(request);
}

ipc::ReceivedFrame QueueClient::get(const Get& asked) {
  const std::uint64_t id = sendGet(asked);
  while (true) {
    auto frame = client_.receive(std::chrono::milliseconds(0));
    if (!frame) {
      awaitInput(client_.connection().fd());
      continue;
    }
    if (frame->get().getId() != id) continue;
    ipc::throwIfError(frame->get());
    return std::move(*frame);
  }
}

void QueueClient::sendTaken() {
  if (told_ == taken_) return;
  ipc::Message message;
  auto taken = message.frame().initQueueTaken();
  taken.setQueue(handle_);
  taken.setTaken(taken_);
  told_ = taken_;
  client_.send(message);
}

void QueueClient::control(wire::QueueControl::Action action) {
  ipc::Message request;
  auto control = request.frame().initQueueControl();
  control.setQueue(handle_);
  control.setAction(action);
  client_.call(request);
}

std::uint64_t QueueClient::sendSettle(const std::vector<std::uint64_t>& leases, Action action,
                                      std::uint64_t ns) {
  ipc::Message request;
  auto settle = request.frame().initQueueSettle();
  settle.setQueue(handle_);
  settle.setAction(action);
  settle.setNs(ns);
  auto list = settle.initLeases(static_cast<unsigned>(leases.size()));
  for (unsigned i = 0; i < list.size(); ++i) list.set(i, leases[i]);
  return client_.send(request);
}

int QueueClient::codeOf(wire::QueueOutcome outcome, const WaitOptions& wait) const {
  switch (outcome) {
    case wire::QueueOutcome::DONE:
      return 0;
    case wire::QueueOutcome::EMPTY:
      return wait.busyCode;
    case wire::QueueOutcome::FULL:
      complain("queue " + name_ + " is full");
      return wait.busyCode;
    case wire::QueueOutcome::TIMED_OUT:
      return kExitTimedOut;
    case wire::QueueOutcome::CLOSED:
      return kExitClosed;
    case wire::QueueOutcome::REMOVED:
      break;
  }
  throw Error(Code::removed, "queue " + name_ + " was removed");
}

}  // namespace baton::ctl
