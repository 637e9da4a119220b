#include "ctl/session.h"

#include "ctl/output.h"
#include "ipc/error.h"
#include "ipc/units.h"

namespace baton::ctl {
namespace {

ipc::ClientOptions clientOptions(const CommonOptions& common, bool start) {
  return {.which = common.which, .start = start, .program = "batonctl"};
}

}  // namespace

ipc::Client connect(const CommonOptions& common) {
  return ipc::Client(clientOptions(common, false));
}

std::optional<ipc::Client> tryConnect(const CommonOptions& common) {
  try {
    return connect(common);
  } catch (const Error& error) {
    if (error.code() != Code::noDaemon) throw;
    complain(error.what());
    return std::nullopt;
  }
}

ipc::Client connectOrStart(const CommonOptions& common) {
  return ipc::Client(clientOptions(common, true));
}

ipc::ReceivedFrame awaitReply(ipc::Client& client, std::uint64_t id, WaitingHint& hint,
                              const ipc::Client::EventHandler& onEvent) {
  while (true) {
    auto frame = client.receive(hint.timeout());
    if (!frame) {
      hint.ask();
      continue;
    }
    const auto reader = frame->get();
    if (hint.take(reader)) continue;
    if (reader.isNotice()) {
      hint.clear();
      complain(reader.getNotice().cStr());
    } else if (reader.getId() == id && !ipc::isEvent(reader)) {
      hint.finish();
      ipc::throwIfError(reader);
      return std::move(*frame);
    } else if (onEvent) {
      onEvent(reader);
    }
  }
}

std::vector<TaskRef> requiredRefs(const char* verb, std::span<const std::string> words, ipc::Client& client) {
  if (words.empty()) {
    throw Error(Code::usage, std::string(verb) +
                                 ": which task? Give ids such as 12, 5-9 or last; `batonctl " + verb +
                                 " --help` explains");
  }
  return parseRefs(words, client);
}

void tellIds(ipc::Client& client, std::span<const TaskRef> made, const std::function<void()>& tell) {
  try {
    tell();
    flushOutput();
  } catch (const Error&) {
    ipc::Message request;
    auto cancel = request.frame().initCancel();
    writeSelection(made, cancel.initSelection());
    cancel.setReason("its id could not be printed");
    client.call(request);
    throw;
  }
}

void checkSize(ipc::Message& message, std::size_t mostBytes, const char* what) {
  constexpr std::size_t kFraming = 1024;  // segment table and what the arena rounds up
  const std::size_t bytes = message.frame().asReader().totalSize().wordCount * sizeof(capnp::word) + kFraming;
  if (bytes > mostBytes) {
    throw Error(Code::tooLarge, std::string(what) + " is larger than the " + ipc::formatSize(mostBytes) +
                                    " that a request may have");
  }
}

}  // namespace baton::ctl
