// Parcels: the descriptors of a task, sent by the client straight to the worker through a SOCK_SEQPACKET pair
// of which the daemon hands one end on unread. Messages on it, each one datagram:
//   client -> worker  'F' + three bytes, one per standard descriptor: index into the descriptors that come
//                     with the datagram, or 255 for "make a pseudo-terminal"
//   worker -> client  'T' with one descriptor: the master side of the pseudo-terminal. Only the client holds
//   it
//                     then: when it ends, the task's terminal hangs up.
//   client -> worker  'G': mode and size of the terminal are set through the master; the command may start.
//                     It does not start before; the worker gives up after 5 s.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#include "shm/fd.h"

namespace baton::ipc {

constexpr std::uint8_t kFromTerminal = 255;

// {client's end, end for the submit frame}.
std::pair<shm::Fd, shm::Fd> makeParcel();

// Sends copies of the descriptors; bit n of `terminals`: descriptor n is a terminal and is not sent.
void sendStandardFds(int parcel, const std::array<int, 3>& fds, std::uint8_t terminals);

struct StandardFds {
  std::array<shm::Fd, 3> fds;  // empty where the pseudo-terminal belongs
  std::uint8_t terminals = 0;
};
// Blocks at most `timeoutMs`. Throws Error(protocol | timedOut | disconnected).
StandardFds receiveStandardFds(int parcel, int timeoutMs);
// Does not block: nullopt when nothing has come. Throws Error(protocol | disconnected).
std::optional<StandardFds> tryReceiveStandardFds(int parcel);

void sendTerminalMaster(int parcel, int master);
// Does not block: nullopt when nothing has come. Throws Error(protocol | disconnected).
std::optional<shm::Fd> tryReceiveTerminalMaster(int parcel);

void sendGo(int parcel);
// Does not block: false when nothing has come. Throws Error(protocol | disconnected).
bool tryReceiveGo(int parcel);

}  // namespace baton::ipc
