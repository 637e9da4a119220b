#include "ctl/map/shell_line.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "ctl/map/shell_words.h"
#include "ipc/error.h"
#include "shm/fd.h"

namespace baton::ctl::map {
namespace {

// MAX_ARG_STRLEN of the kernel, 32 pages of 4 KiB, with the NUL at the end.
constexpr std::size_t kMaxWordBytes = std::size_t{32} * 4096 - 1;

constexpr std::size_t kMaxRemembered = 1000;

std::string_view valueOf(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& entry : environment) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      return std::string_view(entry).substr(name.size() + 1);
    }
  }
  return {};
}

std::vector<std::string> splitPath(std::string_view path) {
  std::vector<std::string> directories;
  while (!path.empty()) {
    const auto colon = std::min(path.find(':'), path.size());
    directories.emplace_back(colon == 0 ? "." : path.substr(0, colon));
    path.remove_prefix(std::min(colon + 1, path.size()));
  }
  return directories;
}

// bash passes functions on as BASH_FUNC_name%%=() {…}.
std::vector<std::string> exportedFunctions(const std::vector<std::string>& environment) {
  static constexpr std::string_view kPrefix = "BASH_FUNC_";
  std::vector<std::string> functions;
  for (const std::string& entry : environment) {
    const auto end = entry.find("%%=");
    if (entry.starts_with(kPrefix) && end != entry.npos) {
      functions.push_back(entry.substr(kPrefix.size(), end - kPrefix.size()));
    }
  }
  std::sort(functions.begin(), functions.end());
  return functions;
}

bool hasZshenv(const std::vector<std::string>& environment) {
  std::string_view home = valueOf(environment, "ZDOTDIR");
  if (home.empty()) home = valueOf(environment, "HOME");
  return home.empty() || ::access((std::string(home) + "/.zshenv").c_str(), F_OK) == 0;
}

// Whether a shell of that kind may know commands from elsewhere than PATH, or understand lines as no POSIX
// shell does.
bool decidesByItself(ShellKind kind, const std::vector<std::string>& environment) {
  switch (kind) {
    case ShellKind::sh:
      return false;
    case ShellKind::bash:
      return !valueOf(environment, "BASH_ENV").empty();
    case ShellKind::ksh:
      return !valueOf(environment, "ENV").empty();
    case ShellKind::zsh:
      return hasZshenv(environment);
    case ShellKind::fish:
    case ShellKind::csh:
    case ShellKind::other:
      return true;
  }
  return true;
}

void checkWord(const std::string& word) {
  if (word.size() <= kMaxWordBytes) return;
  throw Error(Code::tooLarge, "a job's command has a word of " + std::to_string(word.size()) +
                                  " bytes, but the kernel takes at most " + std::to_string(kMaxWordBytes) +
                                  "; pass the value by a file or stdin");
}

}  // namespace

ShellLine::ShellLine(Shell shell, const std::vector<std::string>& environment, std::string directory)
    : shell_(std::move(shell)),
      directory_(std::move(directory)),
      path_(splitPath(valueOf(environment, "PATH"))),
      functions_(exportedFunctions(environment)),
      shellAlways_(decidesByItself(shell_.kind, environment)) {}

std::vector<std::string> ShellLine::toArgv(const std::string& line) {
  if (!shellAlways_) {
    if (auto words = plainWords(line); words && mayBeDirect(words->front())) {
      for (const std::string& word : *words) checkWord(word);
      return std::move(*words);
    }
  }
  checkWord(line);
  // A shell takes a line that begins like an option for one.
  const bool likeOption = line.starts_with('-') || line.starts_with('+');
  return {shell_.path, "-c", likeOption ? " " + line : line};
}

bool ShellLine::mayBeDirect(const std::string& program) {
  if (const auto known = direct_.find(program); known != direct_.end()) return known->second;
  const bool direct = !isBuiltin(program, shell_.kind) &&
                      !std::binary_search(functions_.begin(), functions_.end(), program) &&
                      isProgram(program);
  if (direct_.size() >= kMaxRemembered) direct_.clear();
  direct_.emplace(program, direct);
  return direct;
}

// Where the program is, or nothing.
std::optional<std::string> ShellLine::find(const std::string& program) const {
  const auto locate = [this](std::string path) -> std::optional<std::string> {
    if (!path.starts_with('/') && !directory_.empty()) path.insert(0, directory_ + '/');
    struct stat info {};
    const bool found = ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
    if (!found || ::access(path.c_str(), X_OK) != 0) return std::nullopt;
    return path;
  };
  if (program.find('/') != program.npos) return locate(program);
  for (std::string candidate : path_) {
    candidate += '/';
    candidate += program;
    if (auto found = locate(std::move(candidate))) return found;
  }
  return std::nullopt;
}

// Whether the kernel can execute what the name stands for: what it cannot, the shell reports or interprets.
bool ShellLine::isProgram(const std::string& program) const {
  const auto found = find(program);
  if (!found) return false;
  const shm::Fd file(::open(found->c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  std::array<char, 4> magic{};
  const ssize_t length = file ? ::read(file.get(), magic.data(), magic.size()) : 0;
  const std::string_view start(magic.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  return start == "\177ELF" || start.starts_with("#!");
}

}  // namespace baton::ctl::map
