#include "ipc/surroundings.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include "ipc/error.h"

extern char** environ;

namespace baton::ipc {
namespace {

constexpr int kIoprioWhoProcess = 1;
constexpr std::size_t kAffinityBytes = 1024;  // CPUs 0..8191, the most a kernel is built for

capnp::Data::Reader data(const std::string& text) {
  return {reinterpret_cast<const capnp::byte*>(text.data()), text.size()};
}

std::string text(capnp::Data::Reader bytes, const char* what) {
  if (bytes.size() > 0 && std::memchr(bytes.begin(), 0, bytes.size()) != nullptr) {
    throw Error(Code::protocol, std::string("a NUL byte in ") + what);
  }
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

std::string currentDirectory() {
  char path[PATH_MAX];
  if (::getcwd(path, sizeof(path)) == nullptr || path[0] != '/') {
    throw Error(Code::system, std::string("cannot tell the current directory: ") + std::strerror(errno));
  }
  return path;
}

std::vector<std::uint8_t> currentAffinity() {
  std::vector<std::uint8_t> mask(kAffinityBytes);
  const long got = ::syscall(SYS_sched_getaffinity, 0, mask.size(), mask.data());
  mask.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!mask.empty() && mask.back() == 0) mask.pop_back();
  return mask;
}

std::uint64_t currentIgnoredSignals() {
  std::uint64_t mask = 0;
  for (int signal = 1; signal <= 64; ++signal) {
    struct sigaction action {};
    // SIGPIPE counts too: a shell's `trap '' PIPE` is inherited like any other.
    if (::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN) {
      mask |= std::uint64_t{1} << (signal - 1);
    }
  }
  return mask;
}

auto findVariable(auto& environment, const std::string& name) {
  return std::find_if(environment.begin(), environment.end(), [&](const std::string& entry) {
    return entry.size() > name.size() && entry[name.size()] == '=' &&
           entry.compare(0, name.size(), name) == 0;
  });
}

}  // namespace

Surroundings captureSurroundings() {
  Surroundings result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    result.environment.emplace_back(*entry);
  }
  result.cwd = currentDirectory();
  result.umask = ::umask(0);
  ::umask(result.umask);
  for (int resource = 0; resource < static_cast<int>(RLIM_NLIMITS); ++resource) {
    rlimit limit{};
    if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0) {
      result.limits[static_cast<std::size_t>(resource)] = {limit.rlim_cur, limit.rlim_max};
    }
  }
  errno = 0;
  result.nice = ::getpriority(PRIO_PROCESS, 0);
  result.ioPriority = std::max<int>(0, static_cast<int>(::syscall(SYS_ioprio_get, kIoprioWhoProcess, 0)));
  result.affinity = currentAffinity();
  result.ignoredSignals = currentIgnoredSignals();
  return result;
}

const char* environmentValue(const Surroundings& surroundings, const std::string& name) {
  const auto found = findVariable(surroundings.environment, name);
  return found == surroundings.environment.end() ? nullptr : found->c_str() + name.size() + 1;
}

void setEnvironment(Surroundings& surroundings, const std::string& name, const std::string& value) {
  const auto found = findVariable(surroundings.environment, name);
  if (found == surroundings.environment.end()) {
    surroundings.environment.push_back(name + "=" + value);
  } else {
    *found = name + "=" + value;
  }
}

void unsetEnvironment(Surroundings& surroundings, const std::string& name) {
  std::erase_if(surroundings.environment,
                [&](const std::string& entry) { return entry == name || entry.rfind(name + "=", 0) == 0; });
}

void writeContext(const Surroundings& surroundings, wire::Context::Builder context) {
  auto environment = context.initEnvironment(static_cast<unsigned>(surroundings.environment.size()));
  for (unsigned i = 0; i < environment.size(); ++i) environment.set(i, data(surroundings.environment[i]));
  context.setCwd(data(surroundings.cwd));
  context.setUmask(static_cast<std::uint16_t>(surroundings.umask));
  auto limits = context.initLimits(static_cast<unsigned>(surroundings.limitsTold));
  for (unsigned i = 0; i < limits.size(); ++i) {
    limits[i].setSoft(surroundings.limits[i].soft);
    limits[i].setHard(surroundings.limits[i].hard);
  }
  context.setNice(static_cast<std::int8_t>(surroundings.nice));
  context.setIoPriority(static_cast<std::uint16_t>(surroundings.ioPriority));
  context.setAffinity({surroundings.affinity.data(), surroundings.affinity.size()});
  context.setIgnoredSignals(surroundings.ignoredSignals);
}

Surroundings readContext(wire::Context::Reader context) {
  Surroundings result;
  result.environment.reserve(context.getEnvironment().size());
  for (const auto entry : context.getEnvironment())
    result.environment.push_back(text(entry, "the environment"));
  result.cwd = text(context.getCwd(), "the working directory");
  if (result.cwd.empty() || result.cwd[0] != '/') {
    throw Error(Code::protocol, "the working directory of a context must be absolute");
  }
  result.umask = context.getUmask() & 0777;
  const auto limits = context.getLimits();
  if (limits.size() > result.limits.size()) {
    throw Error(Code::protocol, "a context with more resource limits than this system has");
  }
  for (unsigned i = 0; i < limits.size(); ++i) result.limits[i] = {limits[i].getSoft(), limits[i].getHard()};
  result.limitsTold = limits.size();
  result.nice = std::clamp<int>(context.getNice(), -20, 19);
  result.ioPriority = context.getIoPriority();
  const auto affinity = context.getAffinity();
  if (affinity.size() > kAffinityBytes) {
    throw Error(Code::protocol, "a context with an affinity mask beyond any system's CPUs");
  }
  result.affinity.assign(affinity.begin(), affinity.end());
  result.ignoredSignals = context.getIgnoredSignals();
  return result;
}

}  // namespace baton::ipc
