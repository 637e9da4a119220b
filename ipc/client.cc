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

bool Client::useRings(std::uint32_t bytes) {
  Message request;
  auto asked = request.frame().initUseRings();
  asked.setToDaemonBytes(bytes);
  asked.setFromDaemonBytes(bytes);
  std::optional<ReceivedFrame> reply;
  try {
    reply = call(request);
  } catch (const Error& error) {
    if (error.code() == Code::disconnected || error.code() == Code::protocol) throw;
    return false;
  }
  constexpr std::size_t kDescriptors = 3;
  if (!reply->get().isRingsReply() || reply->fds.size() != kDescriptors) {
    throw Error(Code::protocol, "the daemon gave rings that are none");
  }
  const auto given = reply->get().getRingsReply();
  const shm::DuplexSizes sizes{connectionRingBytes(given.getFromDaemonBytes()),
                               connectionRingBytes(given.getToDaemonBytes())};
  auto rings = std::make_unique<RingChannel>(RingChannel::Ends{
      shm::Mapping(reply->fds[0].get(), sizes.totalBytes(), shm::Access::readWrite), sizes, shm::Side::second,
      shm::Doorbell(shm::Doorbell::Kind::socket, std::move(reply->fds[2])),
      shm::Doorbell(shm::Doorbell::Kind::event, std::move(reply->fds[1]))});
  Message inUse;
  inUse.frame().setRingsInUse();
  connection_.send(inUse);
  connection_.useRings(std::move(rings));
  flush();
  return true;
}

bool Client::waitFor(std::optional<std::chrono::milliseconds> timeout, bool& input) {
  pollfd socket{connection_.fd(), POLLIN, 0};
  if (connection_.socketUnsent()) socket.events |= POLLOUT;
  if (connection_.rings() != nullptr) {
    const auto deadline = timeout ? shm::Deadline(shm::Clock::now() + *timeout) : std::nullopt;
    const auto woken = connection_.wait({&socket, 1}, deadline);
    input = woken == shm::Woken::descriptor || woken == shm::Woken::peerGone;
    return woken != shm::Woken::timedOut;
  }
  const int ready = ::poll(&socket, 1, timeout ? static_cast<int>(timeout->count()) : -1);
  if (ready < 0 && errno != EINTR) throwErrno("cannot wait for the daemon");
  input = ready > 0;
  return ready != 0;
}

std::optional<ReceivedFrame> Client::receive(std::optional<std::chrono::milliseconds> timeout) {
  while (true) {
    if (auto frame = connection_.next()) {
      // The connection as a whole is refused, and ends.
      if (frame->get().getId() == 0) throwIfError(frame->get());
      return frame;
    }
    if (connection_.unsentBytes() > 0) flush();
    bool input = false;
    if (!waitFor(timeout, input)) return std::nullopt;
    if (input && connection_.receive() == Connection::Input::closed) {
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
