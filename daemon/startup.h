// What a daemon does before it serves: its lock, its socket, its own surroundings.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/loop.h"
#include "ipc/locate.h"

namespace baton::daemon {

// The one daemon of this user and machine holds this lock while it lives. Waits some seconds for one that is
// just ending. Throws Error(refused) naming the other's pid.
shm::Fd takeGuardLock(const std::string& stateDirectory);

// Nice value, affinity, limits and OOM score as a fresh login has them, as far as this process may. A
// sentence for each that could not be had.
std::vector<std::string> resetOwnSurroundings();

// Tells the clients that wait at systemd's socket, if there is one, why the daemon cannot serve them: they
// would wait for the next daemon, which systemd would start for them again and again.
void refuseWaiting(const std::string& reason);

// The daemon's listening socket: from systemd where it gives one, else made at `path`, and made again when it
// is removed under us: elsewhere, if its directory went with the user's login.
class ListeningSocket {
 public:
  // Writes the socket's path to the file `socket` of the state directory, where clients look first.
  ListeningSocket(Loop& loop, const ipc::Places& places);
  ~ListeningSocket();

  shm::Fd take() { return std::move(socket_); }
  const std::string& path() const { return path_; }
  bool fromSystemd() const { return fromSystemd_; }
  // Set once: gets each socket that had to be made anew.
  std::function<void(shm::Fd)> onRenewed;
  // Removes socket and file; clients no longer find this daemon.
  void remove();

 private:
  shm::Fd bindSocket();
  void writePathFile() const;
  void watch();
  // A login directory is unmounted from under its files, which inotify does not tell as long as our socket is
  // one of them.
  void watchMounts();
  bool present() const;
  void changed();

  Loop& loop_;
  std::string path_;
  std::string directory_;
  bool movable_;  // with the login directory, which goes at the last logout; false: BATON_STATE_DIR chose the
                  // place
  std::string pathFile_;
  bool fromSystemd_ = false;
  bool removed_ = false;
  shm::Fd socket_;
  shm::Fd inotify_;
  Source watchSource_;
  shm::Fd mounts_;  // polled: its text has changed
  Source mountsSource_;
  Source retryTimer_;
};

}  // namespace baton::daemon
