// batond: builds its objects and runs the loop.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "daemon/daemon.h"
#include "daemon/guard.h"
#include "ipc/error.h"
#include "ipc/start_daemon.h"

namespace {

using namespace baton;

// EX_CONFIG of sysexits.h: trying again would not help, and the user unit does not.
constexpr int kCannotStart = 78;

constexpr const char* kHelp =
    "batond - baton's daemon; usually started by batonctl or systemd, not by hand\n\n"
    "  batond [--config FILE] [--guard] [--delegated]\n\n"
    "  --config FILE   read FILE instead of ~/.config/baton/batond.toml (drop-ins: FILE's batond.d/)\n"
    "  --guard         keep a process above the daemon that ends what it leaves when it is killed\n"
    "  --delegated     its cgroup (v2) is delegated to it: systemd's Delegate=yes, or whatever it is "
    "elsewhere\n"
    "  --version       print the version\n";

struct Arguments {
  bool guard = false;
  bool delegated = false;
  int readyFd = -1;
  std::string config;
};

// Tells the client that waits, once: "ready", or why not.
class Readiness {
 public:
  explicit Readiness(int fd) : fd_(fd) {}
  void tell(const std::string& answer) {
    if (!fd_) return;
    [[maybe_unused]] const ssize_t wrote = ::write(fd_.get(), answer.data(), answer.size());
    fd_.reset();
  }

 private:
  shm::Fd fd_;
};

std::string defaultConfig() {
  if (const char* xdg = std::getenv("XDG_CONFIG_HOME"); xdg != nullptr && xdg[0] == '/') {
    return std::string(xdg) + "/baton/batond.toml";
  }
  const std::string home = ipc::homeDirectory();
  return home.empty() ? "" : home + "/.config/baton/batond.toml";
}

void blockSignals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

int serve(const Arguments& arguments, const daemon::Guard& guard) {
  Readiness readiness(arguments.readyFd);
  bool ready = false;
  try {
    blockSignals();
    daemon::DaemonOptions options;
    options.notes = daemon::resetOwnSurroundings();
    options.places = ipc::userPlaces();
    options.configFile = arguments.config.empty() ? defaultConfig() : arguments.config;
    if (const auto slash = options.configFile.rfind('/'); !options.configFile.empty()) {
      options.dropInDirectory =
          (slash == std::string::npos ? "." : options.configFile.substr(0, slash)) + "/batond.d";
    }
    options.workerProgram = ipc::findProgram("baton-worker");
    options.guard = &guard;
    options.delegated = arguments.delegated;
    ipc::ensurePrivateDirectory(options.places.stateDirectory);
    const daemon::Log log(arguments.readyFd >= 0 ? options.places.stateDirectory + "/batond.log" : "");
    const shm::Fd lock = daemon::takeGuardLock(options.places.stateDirectory);
    for (const char* name : {"BATON_TASK", "BATON_TASK_ID", "BATON_SLOT", "BATON_ATTEMPT", "BATON_SOCKET"}) {
      ::unsetenv(name);
    }
    daemon::Loop loop;
    daemon::Daemon daemon(loop, log, options);
    readiness.tell("ready");
    ready = true;
    return daemon.run();
  } catch (const std::exception& error) {
    readiness.tell(error.what());
    if (!ready) daemon::refuseWaiting(error.what());
    std::fprintf(stderr, "batond: %s\n", error.what());
    return ready ? 1 : kCannotStart;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--guard") {
      arguments.guard = true;
    } else if (argument == "--delegated") {
      arguments.delegated = true;
    } else if (argument.rfind("--ready-fd=", 0) == 0) {
      arguments.readyFd = std::atoi(argument.c_str() + std::strlen("--ready-fd="));
    } else if (argument == "--config" && i + 1 < argc) {
      arguments.config = argv[++i];
    } else if (argument == "--version") {
      std::puts("batond " BATON_VERSION);
      return 0;
    } else {
      const bool help = argument == "--help" || argument == "-h";
      std::fputs(kHelp, help ? stdout : stderr);
      return help ? 0 : 2;
    }
  }
  ::prctl(PR_SET_NAME, "batond");
  daemon::Guard guard;
  if (arguments.guard) {
    try {
      guard = daemon::splitGuard();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "batond: %s\n", error.what());
      return 1;
    }
  }
  return serve(arguments, guard);
}
