#include "ipc/locate.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "ipc/error.h"
#include "ipc/passwd.h"
#include "ipc/start_daemon.h"

namespace baton::ipc {
namespace {

bool isOurDirectory(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == ::getuid();
}

// Not by a stream: with those a program initialises every locale facet there is.
std::string firstLine(const std::string& path) {
  const shm::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, PATH_MAX + 1> text{};
  const ssize_t got = file ? ::read(file.get(), text.data(), text.size()) : 0;
  const std::string_view read(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  return std::string(read.substr(0, read.find('\n')));
}

std::string machineId() {
  for (const char* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
    std::string id = firstLine(path);
    if (id.size() == 32 && id.find('/') == std::string::npos) return id;
  }
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  std::string host = std::string("host-") + name;
  for (char& c : host) {
    if (c == '/') c = '_';
  }
  return host;
}

std::string stateDirectory(const std::string& runtime) {
  if (const char* chosen = std::getenv("BATON_STATE_DIR"); chosen != nullptr && chosen[0] == '/')
    return chosen;
  const std::string home = homeDirectory();
  if (!home.empty() && isOurDirectory(home) && ::access(home.c_str(), W_OK) == 0) {
    return home + "/.local/state/baton/" + machineId();
  }
  return runtime + "/state";
}

// {address, length}; a path too long for sun_path goes through an open descriptor of its directory.
struct Address {
  sockaddr_un value{};
  shm::Fd directory;
};

std::optional<Address> unixAddress(const std::string& path) {
  Address address;
  address.value.sun_family = AF_UNIX;
  std::string shortPath = path;
  if (path.size() >= sizeof(address.value.sun_path)) {
    const auto slash = path.rfind('/');
    address.directory = shm::Fd(::open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!address.directory) return std::nullopt;
    shortPath = "/proc/self/fd/" + std::to_string(address.directory.get()) + path.substr(slash);
    if (shortPath.size() >= sizeof(address.value.sun_path)) return std::nullopt;
  }
  std::memcpy(address.value.sun_path, shortPath.c_str(), shortPath.size() + 1);
  return address;
}

void checkPeer(int socket, const std::string& path) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) throwErrno("cannot tell who listens");
  if (path == kSystemSocket || peer.uid == ::getuid() || peer.uid == 0) return;
  throw Error(Code::refused, "the socket " + path + " belongs to uid " + std::to_string(peer.uid) +
                                 ", not to you; see BATON_SOCKET and XDG_RUNTIME_DIR");
}

std::optional<shm::Fd> connectChecked(const std::string& path) {
  auto socket = connectUnix(path);
  if (socket) checkPeer(socket->get(), path);
  return socket;
}

std::optional<shm::Fd> connectUser(const Places& places) {
  const std::string path = firstLine(places.stateDirectory + "/socket");
  if (!path.empty() && path[0] == '/') {
    if (auto socket = connectChecked(path)) return socket;
  }
  if (path == places.socketPath) return std::nullopt;
  return connectChecked(places.socketPath);
}

bool systemSocketExists() {
  struct stat status {};
  return ::stat(kSystemSocket, &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

std::string homeDirectory() {
  if (std::string home = passwdHome(::getuid()); isOurDirectory(home)) return home;
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/') return home;
  return "";
}

std::string loginDirectory() {
  if (const char* xdg = std::getenv("XDG_RUNTIME_DIR");
      xdg != nullptr && xdg[0] == '/' && isOurDirectory(xdg)) {
    return xdg;
  }
  const std::string usual = "/run/user/" + std::to_string(::getuid());
  return isOurDirectory(usual) ? usual : "";
}

std::string runtimeBase() {
  const std::string login = loginDirectory();
  return login.empty() ? "/tmp/baton-" + std::to_string(::getuid()) : login + "/baton";
}

Places userPlaces() {
  Places places;
  places.runtimeDirectory = runtimeBase();
  places.stateDirectory = stateDirectory(places.runtimeDirectory);
  // A daemon apart from the user's own must not take its socket.
  if (std::getenv("BATON_STATE_DIR") != nullptr) places.runtimeDirectory = places.stateDirectory;
  places.socketPath = places.runtimeDirectory + "/control.sock";
  return places;
}

void ensurePrivateDirectory(const std::string& path) {
  // The mode is set again because the caller's umask may take away the owner's own bits.
  const auto makePrivate = [&path] {
    return ::mkdir(path.c_str(), 0700) == 0 && ::chmod(path.c_str(), 0700) == 0;
  };
  const auto slash = path.rfind('/');
  if (!makePrivate() && errno == ENOENT && slash != 0 && slash != std::string::npos) {
    const std::string parent = path.substr(0, slash);
    struct stat status {};
    if (::stat(parent.c_str(), &status) < 0) ensurePrivateDirectory(parent);
    makePrivate();
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) < 0) {
    throw Error(Code::refused, "cannot make the directory " + path + ": " + std::strerror(errno));
  }
  const bool safe = S_ISDIR(status.st_mode) && status.st_uid == ::getuid() && (status.st_mode & 022) == 0;
  if (!safe) {
    throw Error(Code::refused, path + " must be a directory of yours that nobody else can write; it is not");
  }
}

std::optional<shm::Fd> connectUnix(const std::string& path) {
  const auto address = unixAddress(path);
  if (!address) return std::nullopt;
  shm::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) throwErrno("cannot make a socket");
  int result = 0;
  do {
    result =
        ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->value), sizeof(address->value));
  } while (result < 0 && errno == EINTR);
  if (result == 0) return socket;
  if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return std::nullopt;
  if (errno == EACCES || errno == EPERM) {
    throw Error(Code::refused, "not allowed to use the socket " + path);
  }
  throw Error(Code::refused, "cannot use the socket " + path + ": " + std::strerror(errno));
}

std::optional<shm::Fd> tryConnect(Which which) {
  if (const char* path = std::getenv("BATON_SOCKET"); which == Which::any && path != nullptr && *path != 0) {
    auto socket = connectChecked(path);
    if (!socket) {
      throw Error(Code::noDaemon, std::string("no daemon listens at ") + path + ", which BATON_SOCKET names");
    }
    return socket;
  }
  if (which == Which::system || (which == Which::any && systemSocketExists())) {
    auto socket = connectChecked(kSystemSocket);
    if (!socket) {
      throw Error(Code::noDaemon, std::string("no system daemon listens at ") + kSystemSocket +
                                      "; `systemctl start batond.socket` starts it, --user uses your own");
    }
    return socket;
  }
  return connectUser(userPlaces());
}

shm::Fd connectOrStart(Which which) {
  if (auto socket = tryConnect(which)) return std::move(*socket);
  const Places places = userPlaces();
  const StartLock lock(places);  // others that start it too wait here, and find it running
  if (auto socket = connectUser(places)) return std::move(*socket);
  startUserDaemon(places);
  if (auto socket = connectUser(places)) return std::move(*socket);
  throw Error(Code::noDaemon, "the daemon was started, but does not listen at " + places.socketPath);
}

}  // namespace baton::ipc
