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

#include "ipc/error.h"

namespace baton::ipc {
namespace {

constexpr int kStartTimeoutMs = 10'000;

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool userManagerHasUnit() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime == nullptr || std::getenv("BATON_STATE_DIR") != nullptr) return false;
  if (!exists(std::string(runtime) + "/systemd/private")) return false;
  for (const char* directory :
       {"/etc/systemd/user/", "/usr/local/lib/systemd/user/", "/usr/lib/systemd/user/"}) {
    if (exists(std::string(directory) + "batond.socket")) return true;
  }
  return false;
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

bool startUnit() {
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    ::execlp("systemctl", "systemctl", "--user", "--quiet", "start", "batond.socket", "batond.service",
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

StartLock::StartLock(const Places& places) {
  ensurePrivateDirectory(places.stateDirectory);
  const std::string path = places.stateDirectory + "/start.lock";
  file_ = shm::Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) throwErrno("cannot open " + path);
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
  if (userManagerHasUnit() && startUnit()) return;
  forkDaemon(findProgram("batond"));
}

}  // namespace baton::ipc
