#include "ipc/client.h"

#include <poll.h>

#include <cerrno>
#include <cstdlib>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

shm::Fd connectAs(const ClientOptions& options) {
  if (options.start) {
    return connectOrStart(options.which);
  }
  auto socket = tryConnect(options.which);
  if (!socket) {
    throw Error(Code::noDaemon, "no daemon is running; `batonctl run`, `submit` or `map` starts it");
  }
  return std::move(*socket);
}

void waitFor(Connection& connection, std::optional<std::chrono::milliseconds> timeout, bool& expired) {
  pollfd wait{connection.fd(), POLLIN, 0};
  if (connection.unsentBytes() > 0) wait.events |= POLLOUT;
  const int ready = ::poll(&wait, 1, timeout ? static_cast<int>(timeout->count()) : -1);
  if (ready < 0 && errno != EINTR) throwErrno("cannot wait for the daemon");
  expired = ready == 0;
}

}  // namespace

bool isEvent(wire::Frame::Reader frame) {
  switch (frame.which()) {
    case wire::Frame::ACCEPTED:
    case wire::Frame::STARTED:
    case wire::Frame::STOPPED:
    case wire::Frame::OUTPUT:
    case wire::Frame::TASK_ENDED:
    case wire::Frame::TASK_EVENT:
    case wire::Frame::NOTICE:
      return true;
    default:
      return false;
  }
}

void throwIfError(wire::Frame::Reader frame) {
  if (frame.isError()) {
    const auto error = frame.getError();
    throw Error(static_cast<Code>(error.getCode()), error.getText().cStr());
  }
}

Client::Client(const ClientOptions& options) : connection_(connectAs(options)) {
  sayHello(options.program);
  flush();
  awaitHello();
}

Client::Client(shm::Fd socket, const std::string& program, Message& first) : connection_(std::move(socket)) {
  sayHello(program);
  send(first);
  awaitHello();
}

void Client::sayHello(const std::string& program) {
  Message message;
  message.frame().setId(++lastId_);
  auto hello = message.frame().initHello();
  hello.setMajor(wire::VERSION_MAJOR);
  hello.setMinor(wire::VERSION_MINOR);
  hello.setProgram(program);
  if (const char* task = std::getenv("BATON_TASK")) {
    hello.setTask(task);
  }
  connection_.send(message);
}

void Client::awaitHello() {
  try {
    hello_ = receive();
  } catch (const Error& error) {
    if (error.code() != Code::disconnected) throw;
    throw Error(
        Code::disconnected,
        "the daemon ended before it answered; batond.log in its directory says why, or `journalctl --user "
        "-u batond` where systemd started it");
  }
  throwIfError(hello_->get());
  if (!hello_->get().isHelloReply()) {
    throw Error(Code::protocol, "the socket's other end is no batond");
  }
}

void Client::flush() {
  try {
    connection_.flush();
  } catch (const Error& error) {
    // A daemon that closes the connection may have said why: that is still to be read.
    if (error.code() != Code::disconnected) throw;
  }
}

std::uint64_t Client::send(Message& request) {
  request.frame().setId(++lastId_);
  connection_.send(request);
  flush();
  return lastId_;
}

std::optional<ReceivedFrame> Client::receive(std::optional<std::chrono::milliseconds> timeout) {
  while (true) {
    if (auto frame = connection_.next()) {
      // The connection as a whole is refused, and ends.
      if (frame->get().getId() == 0) throwIfError(frame->get());
      return frame;
    }
    if (connection_.unsentBytes() > 0) flush();
    bool expired = false;
    waitFor(connection_, timeout, expired);
    if (expired) {
      return std::nullopt;
    }
    if (connection_.receive() == Connection::Input::closed) {
      if (auto frame = connection_.next()) return frame;
      throw Error(Code::disconnected, "the daemon ended or closed the connection");
    }
  }
}

ReceivedFrame Client::call(Message& request, const EventHandler& onEvent) {
  const std::uint64_t id = send(request);
  while (true) {
    auto frame = receive();
    const auto reader = frame->get();
    if (reader.isNotice() || reader.getId() != id) {
      if (onEvent) onEvent(reader);
      continue;
    }
    if (isEvent(reader)) {
      if (onEvent) onEvent(reader);
      continue;
    }
    throwIfError(reader);
    return std::move(*frame);
  }
}

}  // namespace baton::ipc
