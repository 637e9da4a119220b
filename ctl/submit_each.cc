#include "ctl/submit_each.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "ctl/context_source.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

// A quarter of a frame: large enough that its cost is shared by thousands of tasks, small enough that the
// daemon's other clients do not notice.
constexpr std::size_t kFrameBytes = 256 * 1024;
// Enough to keep the daemon busy while the next frame is made.
constexpr unsigned kFramesUnderWay = 4;

std::size_t wireBytes(const std::vector<std::string>& argv) {
  constexpr std::size_t kWord = 8;
  std::size_t bytes = kWord;
  for (const std::string& word : argv) bytes += kWord + (word.size() + kWord - 1) / kWord * kWord;
  return bytes;
}

}  // namespace

SubmitEach::SubmitEach(const Request& request)
    : options_(request.options),
      surroundings_(options_.surroundings()),
      records_(request.file, request.delimiter, STDIN_FILENO),
      shellLine_(map::chooseShell(), surroundings_.environment, surroundings_.cwd),
      template_(request.command, map::quotingOf(shellLine_.shell().kind)) {
  if (template_.usesSlot()) {
    throw Error(Code::usage, "submit --each: {%} is not known before a task runs; use $BATON_SLOT, or `map`");
  }
}

std::uint64_t SubmitEach::open(ipc::Client& client) {
  maxFrameBytes_ = client.hello().getMaxFrameBytes();
  ipc::Message request;
  auto open = request.frame().initOpenBatch();
  writeContextSource(surroundings_, open.initContext(), request);
  options_.fill(open.initOptions());
  const std::uint64_t id = client.send(request);
  while (batch_ == 0) {
    const auto frame = client.receive();
    const auto reader = frame->get();
    if (reader.isNotice()) complain(reader.getNotice().cStr());
    if (reader.getId() != id) continue;
    ipc::throwIfError(reader);
    if (reader.isAccepted()) batch_ = reader.getAccepted();
  }
  return batch_;
}

void SubmitEach::addAll(ipc::Client& client) {
  try {
    addRecords(client);
    send(client, true);
    settle(client, 1);
  } catch (...) {
    cancel(client);
    throw;
  }
  if (records_.replacedNul()) complain("a NUL in the input became \\0; use -0 if NUL ends a record");
}

void SubmitEach::addRecords(ipc::Client& client) {
  std::string record;
  while (true) {
    switch (records_.next(record)) {
      case map::Pull::record:
        add(record);
        if (pendingBytes_ >= kFrameBytes) send(client, false);
        break;
      case map::Pull::wouldBlock:
        waitForInput(client);
        break;
      case map::Pull::end:
        return;
    }
  }
}

void SubmitEach::add(const std::string& record) {
  pending_.push_back(shellLine_.toArgv(template_.render({record}, ++sequence_, 0)));
  pendingBytes_ += wireBytes(pending_.back());
}

void SubmitEach::send(ipc::Client& client, bool last) {
  settle(client, kFramesUnderWay);
  ipc::Message request;
  auto add = request.frame().initAddTasks();
  add.setBatch(batch_);
  add.setLast(last);
  auto tasks = add.initTasks(static_cast<unsigned>(pending_.size()));
  for (unsigned i = 0; i < tasks.size(); ++i) {
    writeArgv(pending_[i], tasks[i].initArgv(static_cast<unsigned>(pending_[i].size())));
  }
  checkSize(request, maxFrameBytes_, "a command");
  client.send(request);
  ++outstanding_;
  pending_.clear();
  pendingBytes_ = 0;
}

void SubmitEach::settle(ipc::Client& client, unsigned most) {
  while (outstanding_ >= most) {
    const auto frame = client.receive();
    const auto reader = frame->get();
    ipc::throwIfError(reader);
    if (reader.isOk()) --outstanding_;
    if (reader.isNotice()) complain(reader.getNotice().cStr());
  }
}

void SubmitEach::waitForInput(ipc::Client& client) {
  // What has come so far does not wait for what may never come.
  if (!pending_.empty()) return send(client, false);
  settle(client, 1);
  pollfd wait[] = {{records_.fd(), POLLIN, 0}, {client.connection().fd(), POLLIN, 0}};
  if (::poll(wait, 2, -1) < 0 && errno != EINTR) throwErrno("cannot wait for input");
  if (wait[1].revents != 0) static_cast<void>(client.receive(std::chrono::milliseconds(0)));
}

void SubmitEach::cancel(ipc::Client& client) {
  ipc::Message request;
  const TaskRef ref{batch_, 0};
  auto cancel = request.frame().initCancel();
  writeSelection({&ref, 1}, cancel.initSelection());
  cancel.setReason("its submit failed");
  // The answers of what was under way come first; whatever they say, the batch is given up.
  try {
    const std::uint64_t id = client.send(request);
    while (const auto frame = client.receive(std::chrono::seconds(1))) {
      if (frame->get().getId() == id) return;
    }
  } catch (const Error&) {
    // The connection is gone, and what it left open with it.
  }
}

}  // namespace baton::ctl
