#include "daemon/worker/arrival.h"

#include "daemon/worker/terminal.h"
#include "ipc/error.h"
#include "ipc/parcel.h"

namespace baton::worker {
namespace {

using ipc::wire::Cause;

// For a client that is slow or stopped; one that died is noticed at once.
constexpr Duration kPatience = std::chrono::seconds(5);
constexpr int kNotStarted = 125;

}  // namespace

Arrival::Arrival(shm::Fd parcel, Time now) : parcel_(std::move(parcel)), deadline_(now + kPatience) {}

int Arrival::descriptor(int number) const {
  const auto& fd = fds_[static_cast<std::size_t>(number)];
  return fd ? fd.get() : terminal_.get();
}

Arrival::State Arrival::advance() {
  if (!arrived_) {
    auto standard = ipc::tryReceiveStandardFds(parcel_.get());
    if (!standard) return State::waiting;
    arrived_ = true;
    fds_ = std::move(standard->fds);
    if (standard->terminals != 0) {
      auto terminal = makePseudoTerminal();
      terminal_ = std::move(terminal.slave);
      ipc::sendTerminalMaster(parcel_.get(), terminal.master.get());
    }
  }
  return !terminal_ || ipc::tryReceiveGo(parcel_.get()) ? State::complete : State::waiting;
}

Arrival::State Arrival::step(Time now) {
  try {
    const State state = advance();
    if (state != State::waiting || now < deadline_) return state;
    failure_ = {Cause::SURROUNDINGS, kNotStarted, 0, false,
                "the client did not pass the task's descriptors within 5 s"};
  } catch (const Error& error) {
    const auto cause = error.code() == Code::disconnected ? Cause::CLIENT_GONE : Cause::SURROUNDINGS;
    failure_ = {cause, kNotStarted, 0, false, error.what()};
  }
  return State::failed;
}

}  // namespace baton::worker
