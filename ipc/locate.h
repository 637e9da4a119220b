// Which daemon a client talks to, and starting the user's own one where none runs (design: BATON_SOCKET; else
// the system socket if it exists; else the user's).
#pragma once

#include <optional>
#include <string>

#include "shm/fd.h"

namespace baton::ipc {

enum class Which { any, system, user };

struct Places {
  std::string runtimeDirectory;  // of the user's daemon: sockets; may not exist yet
  std::string stateDirectory;    // ids, logs, guard lock, file with the socket's path: per user and machine
  std::string socketPath;        // where a new daemon of this user listens
};

constexpr const char* kSystemSocket = "/run/baton/control.sock";

// The user's places. Creates nothing. BATON_STATE_DIR replaces the state directory, so that several daemons
// of one user can be kept apart. Throws Error(refused) when no safe directory can be had.
Places userPlaces();

// The home of passwd, so that cron and a shell agree; $HOME for a uid without one there; "" if there is
// neither.
std::string homeDirectory();

// $XDG_RUNTIME_DIR if it is ours, else /run/user/UID if ours, else nothing: no login made one.
std::string loginDirectory();

// Where a daemon of this user keeps its socket: baton/ in the login directory, else /tmp/baton-UID.
std::string runtimeBase();

// Makes `path` and its parents, 0700, and checks that it is ours, a directory, no symlink and closed to
// others. Throws Error(refused) otherwise.
void ensurePrivateDirectory(const std::string& path);

// Connects to a running daemon; nullopt when none listens. Throws Error(refused) for a socket that is not a
// daemon's or of another user, Error(noDaemon) when BATON_SOCKET or `which` names one that is not there.
std::optional<shm::Fd> tryConnect(Which which);

// As tryConnect, but starts the user's daemon if none runs. Any number of callers at once start one. Blocks
// until the daemon is ready, at most 10 s. Throws Error(noDaemon).
shm::Fd connectOrStart(Which which);

// A connection to the socket at `path`; nullopt: nobody listens there. Throws Error for anything else.
std::optional<shm::Fd> connectUnix(const std::string& path);

}  // namespace baton::ipc
