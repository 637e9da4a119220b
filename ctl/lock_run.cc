// `batonctl lock run`, `sem run`: a command in place, while a lock is held.
//
// Never two commands inside: the lock belongs to the command's process before it starts, and passes on only
// when that has ended, whatever became of batonctl. The command gets TERM if batonctl is killed.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "ctl/exit_code.h"
#include "ctl/lock_client.h"
#include "ctl/lock_verbs.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

struct RunOptions {
  LockSpec spec;
  LockWish wish;
  std::vector<std::string> command;
};

constexpr const char* kFooter =
    "While the command runs, nobody else has the lock. It passes on when the command has ended, also if\n"
    "batonctl or the command is killed; the next one is told so. Nothing of it is ever a file.\n"
    "\n"
    "Exit code: the command's own; 1 the lock was not to be had (-n, -w; -E replaces it); 125 baton itself;\n"
    "126, 127 the command cannot be executed, is not found.\n"
    "\n"
    "Examples:\n"
    "  batonctl lock run deploy -- ./deploy.sh\n"
    "  batonctl lock run -n nightly -- backup || echo 'still at it'\n"
    "  batonctl lock run -s -w 10 catalogue -- ./report    many readers at once\n"
    "  batonctl sem run -j 4 gpu -- ./train                 at most four at once";

constexpr Arguments::Spec kLockRun{
    .verb = "lock run",
    .usage = "[OPTIONS] NAME [--] COMMAND [ARGUMENT...]",
    .description = "Run a command here, on no slot, while holding the lock NAME; it is made if it is absent.",
    .footer = kFooter,
    .words = Arguments::Words::command};
constexpr Arguments::Spec kSemRun{
    .verb = "sem run",
    .usage = "-j N [OPTIONS] NAME [--] COMMAND [ARGUMENT...]",
    .description = "Run a command here, on no slot, while holding one of N permits of NAME.",
    .footer = kFooter,
    .words = Arguments::Words::command};

// A pipe's byte lets the command start; its end without one means that it must not.
[[noreturn]] void becomeCommand(pid_t parent, int go, std::vector<std::string>& command) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(kExitBaton);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = ::read(go, &byte, 1);
  } while (got < 0 && errno == EINTR);
  if (got != 1) ::_exit(kExitBaton);
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (const int signal : {SIGINT, SIGQUIT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  ::execvp(argv[0], argv.data());
  const int error = errno;
  complain(command[0] + ": " + std::strerror(error));
  ::_exit(error == ENOENT ? kExitNotFound : kExitNotExecutable);
}

void bindLock(ipc::Client& client, const OpenedLock& lock, std::uint64_t token, pid_t child, shm::Fd witness,
              const std::string& command) {
  shm::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  if (!pidfd) throwErrno("cannot watch the command");
  ipc::Message request;
  auto bind = request.frame().initLockBind();
  bind.setLock(lock.handle);
  bind.setToken(token);
  bind.setCommand(command);
  request.attach(std::move(pidfd));
  request.attach(std::move(witness));
  client.call(request);
}

// What is sent to batonctl is meant for the command. From a terminal it has got it already.
pid_t commandPid = 0;
void passOn(int signal) {
  if (commandPid > 0) ::kill(commandPid, signal);
}

int waitForCommand(pid_t child) {
  commandPid = child;
  for (const int signal : {SIGTERM, SIGHUP}) ::signal(signal, passOn);
  for (const int signal : {SIGINT, SIGQUIT}) ::signal(signal, SIG_IGN);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) throwErrno("cannot wait for the command");
  }
  commandPid = 0;
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}

int runHolding(ipc::Client& client, const OpenedLock& lock, RunOptions& options, std::uint64_t token) {
  int go[2];
  int witness[2];
  // The witness stays open in the command and in all that it starts: its end is the end of them.
  if (::pipe2(go, O_CLOEXEC) < 0 || ::socketpair(AF_UNIX, SOCK_STREAM, 0, witness) < 0) {
    throwErrno("cannot start the command");
  }
  const shm::Fd goRead(go[0]);
  shm::Fd goWrite(go[1]);
  shm::Fd kept(witness[0]);
  shm::Fd inherited(witness[1]);
  ::fcntl(kept.get(), F_SETFD, FD_CLOEXEC);
  const pid_t self = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throwErrno("cannot start the command");
  if (child == 0) {
    goWrite.reset();
    kept.reset();
    becomeCommand(self, goRead.get(), options.command);
  }
  inherited.reset();
  try {
    bindLock(client, lock, token, child, std::move(kept), options.command[0]);
  } catch (...) {
    goWrite.reset();
    waitForCommand(child);
    throw;
  }
  static_cast<void>(::write(goWrite.get(), "g", 1) == 1);
  goWrite.reset();
  const int code = waitForCommand(child);
  try {
    releaseLock(client, lock, options.wish.shared, token);
  } catch (const Error& error) {
    complain(error.code() == Code::disconnected ? "the daemon ended while the command ran; " +
                                                      options.spec.name + " was kept by us until now"
                                                : error.what());
  }
  return code;
}

RunOptions takeWords(RunOptions options, const std::vector<std::string>& words, const char* verb) {
  if (words.size() < 2) {
    throw Error(Code::usage, std::string(verb) + ": expected NAME and a command; `batonctl " + verb +
                                 " --help` has examples");
  }
  options.spec.name = words[0];
  // The name ends the options, so a `--` behind it is still there.
  const std::size_t first = words[1] == "--" ? 2 : 1;
  if (first >= words.size()) throw Error(Code::usage, std::string(verb) + ": no command behind `--`");
  options.command.assign(words.begin() + static_cast<std::ptrdiff_t>(first), words.end());
  options.spec.create = true;
  options.spec.anyKind = true;
  return options;
}

}  // namespace

int lockRun(int argc, char** argv, bool semaphore) {
  CommonOptions common;
  RunOptions options;
  bool shared = false;
  bool exclusive = false;
  bool dontWait = false;
  int refused = kExitNotToBeHad;
  std::optional<unsigned> permits;
  Arguments arguments(semaphore ? kSemRun : kLockRun);
  arguments.flag("-s,--shared", "with others that only read", shared);
  arguments.flag("-x,--exclusive", "alone (the default)", exclusive);
  arguments.number("-j,--jobs", "N", "a semaphore: at most N at once", 1, 1'000'000, permits);
  arguments.flag("-n,--nonblock", "do not wait", dontWait);
  arguments.option("-w,--timeout,--wait", "TIME", "wait at most that long", options.wish.timeout);
  arguments.number("-E,--conflict-exit-code", "CODE", "instead of 1 where the lock is not to be had", 0, 255,
                   refused);
  arguments.common(common, Arguments::Json::no);
  if (!arguments.parse(argc, argv)) return 0;
  const char* verb = semaphore ? "sem run" : "lock run";
  options = takeWords(std::move(options), arguments.words(), verb);
  if (semaphore && !permits) throw Error(Code::usage, "sem run: how many at once? Say -j N");
  if (shared && (exclusive || permits)) throw Error(Code::usage, "-s goes neither with -x nor with -j");
  options.wish.shared = shared;
  if (dontWait) options.wish.timeout = std::chrono::nanoseconds(0);
  if (permits) {
    options.spec.kind = ipc::wire::LockKind::SEMAPHORE;
    options.spec.permits = *permits;
  }

  auto client = connectOrStart(common);
  const OpenedLock lock = openLock(client, options.spec);
  if (permits && lock.kind != ipc::wire::LockKind::SEMAPHORE) {
    throw Error(Code::wrongKind,
                options.spec.name + " is a " + lockKindName(lock.kind) + ", not a semaphore");
  }
  if (permits && lock.permits != *permits) {
    throw Error(Code::refused, options.spec.name + " has " + std::to_string(lock.permits) + " permits, not " +
                                   std::to_string(*permits));
  }
  if (shared && lock.kind != ipc::wire::LockKind::RWLOCK) {
    throw Error(Code::wrongKind,
                options.spec.name + " is a " + lockKindName(lock.kind) + ", which nobody shares");
  }
  const auto token = acquireLock(client, options.spec, lock, options.wish);
  if (!token) return refused;
  return runHolding(client, lock, options, *token);
}

}  // namespace baton::ctl
