#include "ipc/start_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr int kStartTimeoutMs = 10'000;

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// Where a user manager looks for units of an installation, most of them as systemd.unit(5) has them.
std::vector<std::string> unitDirectories() {
  std::vector<std::string> directories{
      "/etc/systemd/user",       "/run/systemd/user",           "/usr/local/share/systemd/user",
      "/usr/share/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"};
  if (const std::string home = homeDirectory(); !home.empty()) {
    directories.push_back(home + "/.config/systemd/user");
    directories.push_back(home + "/.local/share/systemd/user");
  }
  return directories;
}

// The login directory of a user manager that knows our units; nothing where there is none. A daemon that is
// kept apart (BATON_STATE_DIR) is none of its.
std::string userManagerWithUnit() {
  if (std::getenv("BATON_STATE_DIR") != nullptr) return "";
  std::string login = loginDirectory();
  if (login.empty() || !exists(login + "/systemd/private")) return "";
  for (const auto& directory : unitDirectories()) {
    if (exists(directory + "/batond.socket")) return login;
  }
  return "";
}

void resetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// In the child: nothing of the client is left but fd 3, the ready pipe.
[[noreturn]] void becomeDaemon(const char* program, int readyFd) {
  ::setsid();
  resetSignals();
  if (::chdir("/") < 0) ::_exit(127);
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  if (readyFd != 3) ::dup2(readyFd, 3);
  ::fcntl(3, F_SETFD, 0);
  ::close_range(4, UINT_MAX, 0);
  ::execl(program, "batond", "--guard", "--ready-fd=3", static_cast<char*>(nullptr));
  const std::string text = std::string("cannot execute ") + program + ": " + std::strerror(errno);
  [[maybe_unused]] const ssize_t wrote = ::write(3, text.data(), text.size());
  ::_exit(127);
}

// What the daemon says on the pipe: "ready", or why not.
std::string readAnswer(int pipe) {
  std::string answer;
  std::array<char, 1024> buffer{};
  while (answer != "ready") {
    pollfd wait{pipe, POLLIN, 0};
    const int ready = ::poll(&wait, 1, kStartTimeoutMs);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return "it was not ready within 10 s";
    const ssize_t got = ::read(pipe, buffer.data(), buffer.size());
    if (got <= 0) break;
    answer.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return answer.empty() ? "it ended at once" : answer;
}

void forkDaemon(const std::string& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) throwErrno("cannot make a pipe");
  shm::Fd reader(ends[0]);
  shm::Fd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) throwErrno("cannot start the daemon");
  if (child == 0) becomeDaemon(program.c_str(), writer.get());
  writer.reset();
  const std::string answer = readAnswer(reader.get());
  if (answer != "ready") {
    throw Error(Code::noDaemon, "the daemon could not be started: " + answer);
  }
}

// systemctl for the user manager of that login directory; true: it did what was asked.
bool systemctl(const std::string& login, const char* verb) {
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    ::setenv("XDG_RUNTIME_DIR", login.c_str(), 1);  // cron and su do not set it
    const int null = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
    ::execlp("systemctl", "systemctl", "--user", "--quiet", verb, "batond.socket", "batond.service",
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Units that failed too often stay failed until somebody says that it is mended.
bool startUnit(const std::string& login) {
  return systemctl(login, "start") || (systemctl(login, "reset-failed") && systemctl(login, "start"));
}

}  // namespace

StartLock::StartLock(const Places& places) {
  ensurePrivateDirectory(places.stateDirectory);
  const std::string path = places.stateDirectory + "/start.lock";
  file_ = shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) throwErrno("cannot open " + path);
  ::fchmod(file_.get(), 0600);  // whatever the umask took away: the next client is to open it too
  while (::flock(file_.get(), LOCK_EX) < 0) {
    if (errno != EINTR) throwErrno("cannot lock " + path);
  }
}

std::string findProgram(const std::string& name) {
  char self[PATH_MAX] = {};
  const ssize_t size = ::readlink("/proc/self/exe", self, sizeof(self) - 1);
  std::string directory(self, size > 0 ? static_cast<std::size_t>(size) : 0);
  directory.erase(directory.rfind('/') == std::string::npos ? 0 : directory.rfind('/'));
  for (const std::string& candidate :
       {directory + "/" + name, directory + "/../sbin/" + name, directory + "/../libexec/baton/" + name,
        "/usr/local/sbin/" + name, "/usr/sbin/" + name, "/usr/libexec/baton/" + name}) {
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  throw Error(Code::noDaemon, "cannot find the program " + name + "; is baton installed completely?");
}

void startUserDaemon(const Places&) {
  if (const std::string login = userManagerWithUnit(); !login.empty() && startUnit(login)) return;
  forkDaemon(findProgram("batond"));
}

}  // namespace baton::ipc
