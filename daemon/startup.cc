#include "daemon/startup.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "ipc/error.h"
#include "ipc/frame.h"

namespace baton::daemon {
namespace {

constexpr unsigned kLockPatienceSeconds = 8;
constexpr std::chrono::nanoseconds kRebindRetry = std::chrono::seconds(5);

std::string lockOwner(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size() - 1, 0);
  return got > 0 ? std::string(text.data(), std::strcspn(text.data(), "\n")) : "?";
}

void writeSmall(const char* path, const char* text) {
  const shm::Fd file(::open(path, O_WRONLY | O_CLOEXEC));
  if (file) [[maybe_unused]]
    const ssize_t wrote = ::write(file.get(), text, std::strlen(text));
}

bool resetAffinity() {
  std::array<unsigned char, 1024> all{};
  all.fill(0xff);
  return ::syscall(SYS_sched_setaffinity, 0, all.size(), all.data()) == 0;
}

}  // namespace

shm::Fd takeGuardLock(const std::string& stateDirectory) {
  const std::string path = stateDirectory + "/daemon.lock";
  shm::Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) throwErrno("cannot open " + path);
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    struct sigaction interrupt {};
    interrupt.sa_handler = [](int) {};
    struct sigaction before {};
    ::sigaction(SIGALRM, &interrupt, &before);
    ::alarm(kLockPatienceSeconds);
    const int locked = ::flock(lock.get(), LOCK_EX);
    ::alarm(0);
    ::sigaction(SIGALRM, &before, nullptr);
    if (locked < 0) {
      throw Error(Code::refused, "another daemon of yours runs (pid " + lockOwner(lock.get()) +
                                     ", which holds " + path + ")");
    }
  }
  // For people to read only; the lock is what counts.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) < 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0) {
    throwErrno("cannot write " + path);
  }
  return lock;
}

std::vector<std::string> resetOwnSurroundings() {
  std::vector<std::string> notes;
  ::umask(077);
  if (!resetAffinity()) notes.emplace_back("the CPU affinity of who started the daemon is still in force");
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  if (nice > 0 && ::setpriority(PRIO_PROCESS, 0, 0) < 0) {
    notes.push_back("the daemon was started with nice " + std::to_string(nice) + " and may not lower it");
  }
  for (int resource = 0; resource < static_cast<int>(RLIM_NLIMITS); ++resource) {
    const auto which = static_cast<__rlimit_resource>(resource);
    rlimit limit{};
    if (::getrlimit(which, &limit) < 0) continue;
    limit.rlim_cur = limit.rlim_max;
    // A stack of unlimited size would change the layout of every process; the rest is what tasks may ask for.
    if (resource != RLIMIT_STACK && resource != RLIMIT_CORE) ::setrlimit(which, &limit);
  }
  writeSmall("/proc/self/oom_score_adj", "0");
  return notes;
}

void refuseWaiting(const std::string& reason) {
  if (::sd_listen_fds(0) < 1) return;
  ipc::Message message;
  auto error = message.frame().initError();
  error.setCode(static_cast<std::uint16_t>(Code::refused));
  error.setText("the daemon could not be started: " + reason);
  std::vector<std::byte> bytes;
  message.appendTo(bytes);
  ::fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK);
  while (true) {
    const shm::Fd client(::accept4(SD_LISTEN_FDS_START, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client) return;
    [[maybe_unused]] const ssize_t sent = ::send(client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
}

ListeningSocket::ListeningSocket(Loop& loop, const ipc::Places& places)
    : loop_(loop),
      path_(places.socketPath),
      directory_(places.runtimeDirectory),
      movable_(places.runtimeDirectory == ipc::runtimeBase()),
      pathFile_(places.stateDirectory + "/socket") {
  if (::sd_listen_fds(1) >= 1) {
    fromSystemd_ = true;
    socket_ = shm::Fd(SD_LISTEN_FDS_START);
    sockaddr_un address{};
    socklen_t size = sizeof(address);
    if (::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
        address.sun_path[0] == '/') {
      path_ = address.sun_path;
    }
  } else {
    socket_ = bindSocket();
    retryTimer_ = loop_.onTimer([this] { changed(); });
    watchMounts();
    watch();
  }
  writePathFile();
}

ListeningSocket::~ListeningSocket() = default;

shm::Fd ListeningSocket::bindSocket() {
  ipc::ensurePrivateDirectory(directory_);
  shm::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throwErrno("cannot make a socket");
  // A path longer than a socket's name may be goes through its directory's descriptor.
  const shm::Fd directory(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path_.substr(path_.rfind('/') + 1);
  const std::string bound = path_.size() < sizeof(address.sun_path)
                                ? path_
                                : "/proc/self/fd/" + std::to_string(directory.get()) + "/" + name;
  std::memcpy(address.sun_path, bound.c_str(), std::min(bound.size() + 1, sizeof(address.sun_path) - 1));
  ::unlink(path_.c_str());
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    throwErrno("cannot make the socket " + path_);
  }
  if (::chmod(path_.c_str(), 0600) < 0 || ::listen(socket.get(), SOMAXCONN) < 0) {
    throwErrno("cannot listen at " + path_);
  }
  return socket;
}

void ListeningSocket::writePathFile() const {
  const std::string temporary = pathFile_ + ".new";
  const std::string text = path_ + "\n";
  const shm::Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::rename(temporary.c_str(), pathFile_.c_str()) < 0) {
    throwErrno("cannot write " + pathFile_);
  }
}

void ListeningSocket::watch() {
  inotify_ = shm::Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_) return;
  ::inotify_add_watch(inotify_.get(), directory_.c_str(),
                      IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF);
  watchSource_ = loop_.onIo(inotify_.get(), EPOLLIN, [this](std::uint32_t) {
    std::array<char, 4096> events{};
    while (::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
    changed();
  });
  // It may have gone before there was a watch.
  if (!present()) retryTimer_.arm(std::chrono::nanoseconds(0));
}

void ListeningSocket::watchMounts() {
  mounts_ = shm::Fd(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  if (mounts_) mountsSource_ = loop_.onIo(mounts_.get(), EPOLLPRI, [this](std::uint32_t) { changed(); });
}

bool ListeningSocket::present() const {
  struct stat status {};
  return ::lstat(path_.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

void ListeningSocket::changed() {
  if (removed_ || present()) return;
  try {
    if (movable_) {
      directory_ = ipc::runtimeBase();
      path_ = directory_ + "/control.sock";
    }
    shm::Fd socket = bindSocket();
    writePathFile();
    watchSource_.reset();
    watch();
    if (onRenewed) onRenewed(std::move(socket));
  } catch (const Error&) {
    retryTimer_.arm(kRebindRetry);
  }
}

void ListeningSocket::remove() {
  removed_ = true;
  watchSource_.reset();
  mountsSource_.reset();
  ::unlink(pathFile_.c_str());
  if (!fromSystemd_) ::unlink(path_.c_str());
}

}  // namespace baton::daemon
