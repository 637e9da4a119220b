#include "daemon/worker/command.h"

#include <sys/stat.h>

#include <cstring>

#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::worker {
namespace {

using ipc::wire::Cause;

constexpr int kNotFound = 127;
constexpr int kNotExecutable = 126;
constexpr int kNotStarted = 125;
char shellPath[] = "/bin/sh";

std::string text(capnp::Data::Reader bytes, const char* what) {
  if (bytes.size() > 0 && std::memchr(bytes.begin(), 0, bytes.size()) != nullptr) {
    throw Error(Code::protocol, std::string("a NUL byte in ") + what);
  }
  return {reinterpret_cast<const char*>(bytes.begin()), bytes.size()};
}

std::string reason(int error) {
  return ": " + std::string(std::strerror(error));
}

}  // namespace

Command::Command(ipc::wire::Assign::Reader assign, Context& context) : context_(context) {
  readArgv(assign);
  readPaths(assign.getOptions());
  findCandidates();
  buildEnvironment(assign);
  context_.fill(plan_, assign.getIoNice());
}

void Command::readArgv(ipc::wire::Assign::Reader assign) {
  const auto argv = assign.getArgv();
  if (argv.size() == 0) {
    throw Error(Code::protocol, "a task without a command");
  }
  words_.reserve(argv.size());
  for (const auto word : argv) words_.push_back(text(word, "a command"));
  argv_.reserve(words_.size() + 1);
  for (auto& word : words_) argv_.push_back(word.data());
  argv_.push_back(nullptr);
  shellArgv_ = {shellPath, nullptr};
  shellArgv_.insert(shellArgv_.end(), argv_.begin() + 1, argv_.end());
  plan_.argv = argv_.data();
  plan_.shellArgv = shellArgv_.data();
}

void Command::readPaths(ipc::wire::TaskOptions::Reader options) {
  paths_ = {text(options.getStdinPath(), "a path"), text(options.getStdoutPath(), "a path"),
            text(options.getStderrPath(), "a path")};
  for (int number = 0; number < 3; ++number) {
    const auto& path = paths_[static_cast<std::size_t>(number)];
    auto& stream = plan_.streams[static_cast<std::size_t>(number)];
    if (number == 2 && !path.empty() && path == paths_[1]) {
      stream.sameAs = 1;
    } else if (!path.empty()) {
      stream.path = path.c_str();
    }
  }
}

void Command::findCandidates() {
  const auto& program = words_[0];
  if (program.find('/') != std::string::npos) {
    candidates_.push_back(program);
  } else if (!program.empty()) {
    const auto& path = context_.path();
    for (std::size_t begin = 0; begin <= path.size();) {
      const std::size_t end = std::min(path.find(':', begin), path.size());
      auto candidate = path.substr(begin, end - begin);
      if (!candidate.empty()) candidate += '/';
      candidates_.push_back(candidate.append(program));
      begin = end + 1;
    }
  }
  for (const auto& candidate : candidates_) candidatePointers_.push_back(candidate.c_str());
  candidatePointers_.push_back(nullptr);
  plan_.candidates = candidatePointers_.data();
}

void Command::buildEnvironment(ipc::wire::Assign::Reader assign) {
  const auto id = std::to_string(assign.getTask());
  const auto slots = std::to_string(std::max<unsigned>(1, assign.getSlots()));
  const auto socket = text(assign.getSocket(), "the socket's path");
  variables_.reserve(5 + kThreadVariables.size());
  variables_.push_back(std::string("BATON_TASK_ID=") + assign.getLabel().cStr());
  variables_.push_back("BATON_TASK=" + id + ":" + assign.getSecret().cStr());
  variables_.push_back("BATON_SLOT=" + std::to_string(assign.getSlot()));
  variables_.push_back("BATON_ATTEMPT=" + std::to_string(assign.getAttempt()));
  if (!socket.empty()) variables_.push_back("BATON_SOCKET=" + socket);
  for (const char* name : context_.threadVariables()) variables_.push_back(std::string(name) + "=" + slots);

  environment_.reserve(context_.environment().size() + variables_.size() + 1);
  environment_ = context_.environment();
  for (auto& variable : variables_) environment_.push_back(variable.data());
  environment_.push_back(nullptr);
  plan_.environment = environment_.data();
}

void Command::useDescriptor(int number, int fd) {
  plan_.streams[static_cast<std::size_t>(number)].fd = fd;
}

std::string Command::absolute(const std::string& path) const {
  return path[0] == '/' ? path : context_.cwd() + "/" + path;
}

bool Command::mayBlockToOpen() const {
  for (const auto& path : paths_) {
    struct stat status {};
    if (!path.empty() && ::stat(absolute(path).c_str(), &status) == 0 && !S_ISREG(status.st_mode) &&
        path != "/dev/null") {
      return true;
    }
  }
  return false;
}

Outcome Command::explain(const LaunchFailure& failure) const {
  const auto surroundings = [&](const std::string& what) {
    return Outcome{Cause::SURROUNDINGS, kNotStarted, 0, false, what + reason(failure.error)};
  };
  switch (failure.step) {
    case Step::none:
      return {};
    case Step::clone:
      return surroundings("cannot start a process");
    case Step::cgroup:
      return surroundings("cannot enter the task's cgroup");
    case Step::session:
      return surroundings("cannot make a session for the command");
    case Step::chdir:
      return surroundings("cannot change to the directory " + ipc::escape(context_.cwd()));
    case Step::open:
      return explainOpen(failure);
    case Step::nice:
      return surroundings("cannot set the nice value to " + std::to_string(*plan_.nice));
    case Step::ioPriority:
      return surroundings("cannot set the submitter's I/O priority");
    case Step::affinity:
      return surroundings("cannot set the submitter's CPU affinity");
    case Step::limit: {
      const auto& change = plan_.limits[failure.index];
      const auto number = [](rlim_t value) {
        return value == RLIM_INFINITY ? std::string("unlimited") : std::to_string(value);
      };
      return surroundings("cannot set the limit of " + limitName(change.resource) + " to " +
                          number(change.limit.rlim_cur) + " (hard: " + number(change.limit.rlim_max) + ")");
    }
    case Step::execute:
      return isMissing(failure) ? explainMissing() : explainNotExecutable(failure);
  }
  return {};
}

// A directory of PATH that may not be searched says "permission denied" for a program that nobody has.
bool Command::isMissing(const LaunchFailure& failure) const {
  struct stat status {};
  const bool searched = words_[0].find('/') == std::string::npos;
  return failure.error == ENOENT ||
         (failure.error == EACCES && searched &&
          ::stat(absolute(candidates_[static_cast<std::size_t>(failure.index)]).c_str(), &status) < 0);
}

Outcome Command::explainOpen(const LaunchFailure& failure) const {
  static constexpr std::array<const char*, 3> kNames{"standard input", "standard output", "standard error"};
  const auto number = static_cast<std::size_t>(failure.index);
  auto what = std::string("cannot open ") + kNames[number];
  if (!paths_[number].empty()) what += " (" + ipc::escape(paths_[number]) + ")";
  return {Cause::SURROUNDINGS, kNotStarted, 0, false, what + reason(failure.error)};
}

Outcome Command::explainMissing() const {
  const auto& program = words_[0];
  Outcome outcome{Cause::NOT_FOUND, kNotFound, 0, false, "no such program: " + ipc::shellQuote(program)};
  struct stat status {};
  if (program.find('/') != std::string::npos && ::stat(absolute(program).c_str(), &status) == 0) {
    outcome.detail = ipc::escape(program) + " is there, but not the interpreter or loader that it needs";
  } else if (program.find_first_of(" \t\n|&;<>()$`*?[]{}~\"'\\") != std::string::npos) {
    outcome.detail += "; a line for a shell is run with: sh -c " + ipc::shellQuote(program);
  }
  return outcome;
}

Outcome Command::explainNotExecutable(const LaunchFailure& failure) const {
  const auto& path = failure.index >= 0 ? candidates_[static_cast<std::size_t>(failure.index)] : words_[0];
  auto detail = "cannot execute " + ipc::shellQuote(path) + reason(failure.error);
  if (failure.error == E2BIG) detail += " (arguments and environment together)";
  return {Cause::NOT_EXECUTABLE, kNotExecutable, 0, false, detail};
}

}  // namespace baton::worker
