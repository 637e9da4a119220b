#include "ctl/submit_options.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::int64_t kMaxPriority = 1000;
constexpr std::int64_t kMaxAttempts = 1000;
constexpr std::int64_t kMaxSlots = 65535;
constexpr std::size_t kMaxNameBytes = 128;

capnp::Data::Reader data(const std::string& text) {
  return {reinterpret_cast<const capnp::byte*>(text.data()), text.size()};
}

std::uint64_t count(std::chrono::nanoseconds duration) {
  return static_cast<std::uint64_t>(duration.count());
}

// The directory's path as the kernel knows it; the task's PWD would else be a guess.
std::string resolvedDirectory(const std::string& path) {
  char resolved[PATH_MAX];
  struct stat status {};
  if (::realpath(path.c_str(), resolved) == nullptr || ::stat(resolved, &status) < 0) {
    throw Error(Code::usage, "-C " + path + ": " + std::strerror(errno));
  }
  if (!S_ISDIR(status.st_mode)) throw Error(Code::usage, "-C " + path + ": " + std::strerror(ENOTDIR));
  if (::access(resolved, X_OK) < 0) throw Error(Code::usage, "-C " + path + ": " + std::strerror(errno));
  return resolved;
}

void applyVariable(ipc::Surroundings& surroundings, const std::string& entry) {
  const std::size_t equals = entry.find('=');
  const std::string name = entry.substr(0, equals);
  if (name.empty()) throw Error(Code::usage, "-E " + entry + ": expected NAME or NAME=VALUE");
  if (equals != std::string::npos) {
    ipc::setEnvironment(surroundings, name, entry.substr(equals + 1));
    return;
  }
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) throw Error(Code::usage, "-E " + name + ": no such variable is set here");
  ipc::setEnvironment(surroundings, name, value);
}

}  // namespace

void SubmitOptions::declareSurroundings(Arguments& arguments) {
  arguments.option("-C,--directory", "DIR", "run in DIR", directory);
  arguments.option("-E", "NAME[=VALUE]", "set a variable, or copy it from here; may be repeated",
                   environment);
  arguments.option("--env", "none|all", "start with an empty environment; all: with this one (default)",
                   [this](const std::string& text) {
                     if (text != "none" && text != "all") {
                       throw Error(Code::usage, "--env " + text + ": expected none or all");
                     }
                     emptyEnvironment = text == "none";
                   });
}

void SubmitOptions::declareFiles(Arguments& arguments) {
  arguments.option("-i,--input", "FILE", "stdin from FILE, opened when the task starts", stdinPath);
  arguments.option("-o,--output", "FILE", "stdout to FILE, emptied when the task starts", stdoutPath);
  arguments.option("-e,--error", "FILE", "stderr to FILE; the same FILE as -o: both in one", stderrPath);
}

void SubmitOptions::declareTask(Arguments& arguments) {
  arguments.option("--name", "NAME", "a name to be shown in listings", name);
  arguments.number("-p,--priority", "N", "-1000..1000; one step is worth a minute of waiting", -kMaxPriority,
                   kMaxPriority, priority);
  arguments.flag("--io", "it waits rather than computes: run it without a slot", io);
  arguments.number("--cpus", "N", "take N slots", 1, kMaxSlots, slots);
  arguments.option("--timeout", "TIME", "end it when it has run that long (exit 124)", timeLimit);
  arguments.option("--grace", "TIME", "between TERM and KILL when it is ended (default: as configured, 10s)",
                   grace);
  arguments.option("--queue-timeout", "TIME", "give up if it has not started by then (exit 124)", queueLimit);
  arguments.flag("-n,--no-wait", "give up if it cannot start now (exit 1)", refuseToWait);
  arguments.flag("--hold", "do not start it before `batonctl release`", held);
  arguments.number("--attempts,--retries", "N", "start it up to N times, until it succeeds", 1, kMaxAttempts,
                   attempts);
  arguments.flag("--detach-children", "let processes that it leaves behind go on", detachChildren);
}

void SubmitOptions::check() const {
  if (io && slots > 1)
    throw Error(Code::usage, "--io and --cpus contradict each other: IO tasks take no slot");
  if (refuseToWait && held) throw Error(Code::usage, "-n and --hold contradict each other");
  if (refuseToWait && queueLimit) throw Error(Code::usage, "-n and --queue-timeout contradict each other");
  if (name.size() > kMaxNameBytes) throw Error(Code::usage, "--name: longer than 128 bytes");
}

void SubmitOptions::fill(ipc::wire::TaskOptions::Builder options) const {
  if (!name.empty()) options.setName(name);
  options.setPriority(priority);
  options.setLane(io ? ipc::wire::Lane::IO : ipc::wire::Lane::CPU);
  options.setSlots(static_cast<std::uint16_t>(slots));
  if (timeLimit) options.setTimeLimitNs(count(*timeLimit));
  if (grace) options.setGraceNs(count(*grace));
  // 0 on the wire is "no limit"; the least time there is means "now or never".
  if (queueLimit) options.setQueueLimitNs(std::max<std::uint64_t>(count(*queueLimit), 1));
  if (refuseToWait) options.setQueueLimitNs(1);
  options.setHeld(held);
  options.setAttempts(static_cast<std::uint16_t>(attempts));
  options.setDetachChildren(detachChildren);
  if (stdinPath) options.setStdinPath(data(*stdinPath));
  if (stdoutPath) options.setStdoutPath(data(*stdoutPath));
  if (stderrPath) options.setStderrPath(data(*stderrPath));
}

ipc::Surroundings SubmitOptions::surroundings() const {
  auto surroundings = ipc::captureSurroundings();
  if (emptyEnvironment) surroundings.environment.clear();
  if (directory) {
    surroundings.cwd = resolvedDirectory(*directory);
    if (!emptyEnvironment) ipc::setEnvironment(surroundings, "PWD", surroundings.cwd);
  }
  for (const std::string& entry : environment) applyVariable(surroundings, entry);
  return surroundings;
}

}  // namespace baton::ctl
