// `batonctl lock` and `batonctl sem`: finds the verb behind it; and the short ones.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "ctl/exit_code.h"
#include "ctl/lock_client.h"
#include "ctl/lock_verbs.h"
#include "ctl/noun.h"
#include "ctl/object_text.h"
#include "ctl/output.h"
#include "ctl/session.h"
#include "ctl/verbs.h"
#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;
using Action = wire::LockControl::Action;

const std::string& oneName(const Arguments& arguments, const char* verb) {
  if (arguments.words().size() != 1) {
    throw Error(Code::usage, std::string("lock ") + verb + ": expected one NAME");
  }
  return arguments.words()[0];
}

// ---- create, rm ----

int create(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "lock create",
      .usage = "[OPTIONS] NAME",
      .description = "Make a lock that stays until `lock rm` or the end of the daemon.",
      .footer =
          "Examples:\n"
          "  batonctl lock create deploy\n"
          "  batonctl lock create --kind semaphore --permits 4 gpu\n"
          "  batonctl lock create --kind event ready && batonctl lock set ready",
      .words = Arguments::Words::operands};
  CommonOptions common;
  LockSpec spec{.name = {}, .create = true, .exclusive = true, .keep = true};
  std::string kind = "rwlock";
  std::string mode = "600";
  Arguments arguments(kSpec);
  arguments.option("-k,--kind", "KIND",
                   "mutex, rlock, rwlock (default), semaphore, condition, event, barrier", kind);
  arguments.number("--permits", "N", "of a semaphore; parties of a barrier", 0, 1'000'000, spec.permits);
  arguments.flag("--bounded", "a semaphore: no more releases than acquires", spec.bounded);
  arguments.flag("--counting", "a semaphore: its permits belong to nobody", spec.counting);
  arguments.flag("--hand-off", "a mutex that anybody may release", spec.handOff);
  arguments.flag("--refuse-abandoned", "after its owner's death it is refused until `lock clear`",
                 spec.refuseAbandoned);
  arguments.option("-m,--mode", "MODE", "who may use it, as of a file (default 600)", mode);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  spec.name = oneName(arguments, "create");
  spec.kind = lockKindOf(kind);
  spec.mode = modeOf(mode);
  auto client = connectOrStart(common);
  openLock(client, spec);
  return 0;
}

int remove(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{.verb = "lock rm",
                                  .usage = "[--force] NAME...",
                                  .description = "Remove locks. Who waits for one is refused.",
                                  .footer =
                                      "Examples:\n"
                                      "  batonctl lock rm deploy\n"
                                      "  batonctl lock rm --force deploy    though it is held",
                                  .words = Arguments::Words::operands};
  CommonOptions common;
  bool force = false;
  Arguments arguments(kSpec);
  arguments.flag("-f,--force", "though it is held or waited for", force);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  if (arguments.words().empty()) throw Error(Code::usage, "lock rm: which lock?");
  auto client = connect(common);
  removeObjects(client, wire::ObjectKind::LOCK, arguments.words(), force);
  return 0;
}

// ---- acquire, release ----

int acquire(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "lock acquire",
      .usage = "--pid PID [OPTIONS] NAME",
      .description =
          "Give a lock to a process, usually the calling shell, and print the fencing token. It is held "
          "until\n"
          "`lock release` or the end of that process. For a single command use `lock run`.",
      .footer =
          "Exit code: 0 it is held; 1 not to be had (-n, -w; -E replaces it); 125 baton itself.\n"
          "\n"
          "Examples:\n"
          "  batonctl lock acquire --pid $$ deploy && ./deploy.sh; batonctl lock release deploy\n"
          "  token=$(batonctl lock acquire -w 10 --pid $$ deploy) || exit",
      .words = Arguments::Words::operands};
  CommonOptions common;
  LockSpec spec{.name = {}, .create = true, .anyKind = true};
  LockWish wish;
  bool dontWait = false;
  bool exclusive = false;
  int refused = kExitNotToBeHad;
  std::optional<int> pid;
  Arguments arguments(kSpec);
  arguments.number("-p,--pid", "PID", "the process that is to hold it", 1, 0x7fff'ffff, pid);
  arguments.flag("-s,--shared", "with others that only read", wish.shared);
  arguments.flag("-x,--exclusive", "alone (the default)", exclusive);
  arguments.flag("-n,--nonblock", "do not wait", dontWait);
  arguments.option("-w,--timeout,--wait", "TIME", "wait at most that long", wish.timeout);
  arguments.number("-E,--conflict-exit-code", "CODE", "instead of 1 where the lock is not to be had", 0, 255,
                   refused);
  arguments.common(common, Arguments::Json::yes);
  if (!arguments.parse(argc, argv)) return 0;
  spec.name = oneName(arguments, "acquire");
  if (!pid) {
    throw Error(
        Code::usage,
        "lock acquire: which process is to hold it? Say `--pid $$`: the parent of batonctl is often a "
        "subshell that ends at once");
  }
  const shm::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  if (!process) {
    throw Error(Code::usage, "lock acquire: process " + std::to_string(*pid) + ": " + std::strerror(errno));
  }
  wish.pidfd = process.get();
  if (dontWait) wish.timeout = std::chrono::nanoseconds(0);
  auto client = connectOrStart(common);
  const OpenedLock lock = openLock(client, spec);
  const auto token = acquireLock(client, spec, lock, wish);
  if (!token) return refused;
  print(common.json ? "{\"token\":" + std::to_string(*token) + "}\n" : std::to_string(*token) + "\n");
  return 0;
}

int release(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{.verb = "lock release",
                                  .usage = "[--token TOKEN] NAME",
                                  .description = "Release what `lock acquire` gave to a process.",
                                  .footer =
                                      "Exit code: 0 released; 125 nobody of yours holds it.\n"
                                      "\n"
                                      "Examples:\n"
                                      "  batonctl lock release deploy\n"
                                      "  batonctl lock release --token $token gpu",
                                  .words = Arguments::Words::operands};
  CommonOptions common;
  std::int64_t token = 0;
  bool shared = false;
  Arguments arguments(kSpec);
  arguments.number("--token", "TOKEN", "what `lock acquire` printed; where several processes hold it", 1,
                   INT64_MAX, token);
  arguments.flag("-s,--shared", "it was acquired with -s", shared);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  const OpenedLock lock = openLock(client, {.name = oneName(arguments, "release"), .anyKind = true});
  releaseLock(client, lock, shared, static_cast<std::uint64_t>(token));
  return 0;
}

// ---- wait, set, clear, break ----

int wait(int argc, char** argv) {
  constexpr Arguments::Spec kSpec{
      .verb = "lock wait",
      .usage = "[OPTIONS] NAME",
      .description = "Wait until an event is set, or a barrier's parties are all there.",
      .footer =
          "Exit code: 0 it is; 1 not in time (-w).\n"
          "\n"
          "Examples:\n"
          "  batonctl lock wait -w 30 ready && ./client",
      .words = Arguments::Words::operands};
  CommonOptions common;
  LockWish wish;
  Arguments arguments(kSpec);
  arguments.option("-w,--timeout,--wait", "TIME", "wait at most that long", wish.timeout);
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  const LockSpec spec{.name = oneName(arguments, "wait"), .anyKind = true};
  const OpenedLock lock = openLock(client, spec);
  if (lock.kind != wire::LockKind::EVENT && lock.kind != wire::LockKind::BARRIER) {
    throw Error(Code::wrongKind, spec.name + " is a " + lockKindName(lock.kind) +
                                     "; one waits for events and barriers, and acquires the others");
  }
  return acquireLock(client, spec, lock, wish) ? 0 : kExitNotToBeHad;
}

void control(ipc::Client& client, std::uint32_t handle, Action action) {
  ipc::Message request;
  auto control = request.frame().initLockControl();
  control.setLock(handle);
  control.setAction(action);
  client.call(request);
}

int change(const Arguments::Spec& spec, int argc, char** argv, Action action) {
  CommonOptions common;
  bool generation = false;
  Arguments arguments(spec);
  if (action == Action::BREAK) {
    arguments.flag("--generation", "what clients of an older daemon may still hold is theirs no more",
                   generation);
  }
  arguments.common(common, Arguments::Json::nothing);
  if (!arguments.parse(argc, argv)) return 0;
  auto client = connect(common);
  if (generation) {
    control(client, 0, Action::IGNORE_OLDER);
    return 0;
  }
  const OpenedLock lock = openLock(client, {.name = oneName(arguments, spec.verb + 5), .anyKind = true});
  control(client, lock.handle, action);
  return 0;
}

int set(int argc, char** argv) {
  return change({.verb = "lock set",
                 .usage = "NAME",
                 .description = "Set an event: who waits for it goes on.",
                 .footer = "Examples:\n"
                           "  batonctl lock set ready",
                 .words = Arguments::Words::operands},
                argc, argv, Action::SET);
}

int clear(int argc, char** argv) {
  return change({.verb = "lock clear",
                 .usage = "NAME",
                 .description = "Clear an event; make a lock usable again whose owner has died.",
                 .footer = "Examples:\n"
                           "  batonctl lock clear ready",
                 .words = Arguments::Words::operands},
                argc, argv, Action::CLEAR);
}

int breakLock(int argc, char** argv) {
  return change(
      {.verb = "lock break",
       .usage = "NAME | --generation",
       .description =
           "Take a lock from its holder, who may still be at work: the next one is told so, the holder at "
           "its\nrelease. Use it when you know better.",
       .footer = "Examples:\n"
                 "  batonctl lock show deploy && batonctl lock break deploy\n"
                 "  batonctl lock break --generation    after the daemon was killed under its clients",
       .words = Arguments::Words::operands},
      argc, argv, Action::BREAK);
}

int run(int argc, char** argv) {
  return lockRun(argc, argv, false);
}

constexpr NounVerb kVerbs[] = {{"list", "the locks there are", lockList},
                               {"show", "holders, waiters, the last owner's death", lockShow},
                               {"run", "run a command while holding a lock", run},
                               {"acquire", "give a lock to a process, such as the calling shell", acquire},
                               {"release", "release it", release},
                               {"create", "make a lock that stays", create},
                               {"rm", "remove locks", remove},
                               {"wait", "wait for an event or a barrier", wait},
                               {"set", "set an event", set},
                               {"clear", "clear an event, or what an owner's death left", clear},
                               {"break", "take a lock from its holder", breakLock}};

constexpr Noun kLock{"lock", "Named locks that survive whoever holds them, and show who that is.",
                     "Examples:\n"
                     "  batonctl lock run deploy -- ./deploy.sh\n"
                     "  batonctl lock list",
                     kVerbs};

}  // namespace

int lockVerb(int argc, char** argv) {
  return callNoun(kLock, argc, argv);
}

int semVerb(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "run") return lockRun(argc - 1, argv + 1, true);
  const bool help = argc > 1 && (std::string_view(argv[1]) == "--help" || std::string_view(argv[1]) == "-h");
  if (!help) {
    throw Error(Code::usage,
                "sem: expected `sem run -j N NAME -- COMMAND`; `batonctl lock` has the other verbs");
  }
  char option[] = "--help";
  char* words[] = {argv[0], option, nullptr};
  return lockRun(2, words, true);
}

}  // namespace baton::ctl
