#include "ctl/map/shell_words.h"

#include <algorithm>
#include <array>

namespace baton::ctl::map {
namespace {

using namespace std::string_view_literals;

// Keywords and builtins of POSIX sh, dash, bash, ksh and zsh together, sorted: a word too many costs a shell.
constexpr std::array kBuiltins{
    "!"sv,
    "-"sv,
    "."sv,
    ":"sv,
    "["sv,
    "[["sv,
    "]]"sv,
    "alias"sv,
    "autoload"sv,
    "bg"sv,
    "bind"sv,
    "bindkey"sv,
    "break"sv,
    "builtin"sv,
    "bye"sv,
    "caller"sv,
    "case"sv,
    "cd"sv,
    "chdir"sv,
    "command"sv,
    "compadd"sv,
    "comparguments"sv,
    "compcall"sv,
    "compctl"sv,
    "compdescribe"sv,
    "compfiles"sv,
    "compgen"sv,
    "compgroups"sv,
    "complete"sv,
    "compopt"sv,
    "compquote"sv,
    "comptags"sv,
    "comptry"sv,
    "compvalues"sv,
    "continue"sv,
    "coproc"sv,
    "declare"sv,
    "dirs"sv,
    "disable"sv,
    "disown"sv,
    "do"sv,
    "done"sv,
    "echo"sv,
    "echotc"sv,
    "echoti"sv,
    "elif"sv,
    "else"sv,
    "emulate"sv,
    "enable"sv,
    "end"sv,
    "enum"sv,
    "esac"sv,
    "eval"sv,
    "exec"sv,
    "exit"sv,
    "export"sv,
    "false"sv,
    "fc"sv,
    "fg"sv,
    "fi"sv,
    "float"sv,
    "for"sv,
    "foreach"sv,
    "function"sv,
    "functions"sv,
    "getln"sv,
    "getopts"sv,
    "global"sv,
    "hash"sv,
    "help"sv,
    "hist"sv,
    "history"sv,
    "if"sv,
    "in"sv,
    "integer"sv,
    "jobs"sv,
    "kill"sv,
    "let"sv,
    "limit"sv,
    "local"sv,
    "log"sv,
    "login"sv,
    "logout"sv,
    "mapfile"sv,
    "nameref"sv,
    "namespace"sv,
    "newgrp"sv,
    "nocorrect"sv,
    "noglob"sv,
    "popd"sv,
    "print"sv,
    "printf"sv,
    "private"sv,
    "pushd"sv,
    "pushln"sv,
    "pwd"sv,
    "r"sv,
    "read"sv,
    "readarray"sv,
    "readonly"sv,
    "redirect"sv,
    "rehash"sv,
    "repeat"sv,
    "return"sv,
    "sched"sv,
    "select"sv,
    "set"sv,
    "setopt"sv,
    "shift"sv,
    "shopt"sv,
    "source"sv,
    "stop"sv,
    "suspend"sv,
    "test"sv,
    "then"sv,
    "time"sv,
    "times"sv,
    "trap"sv,
    "true"sv,
    "ttyctl"sv,
    "type"sv,
    "typeset"sv,
    "ulimit"sv,
    "umask"sv,
    "unalias"sv,
    "unfunction"sv,
    "unhash"sv,
    "unlimit"sv,
    "unset"sv,
    "unsetopt"sv,
    "until"sv,
    "vared"sv,
    "wait"sv,
    "whence"sv,
    "where"sv,
    "which"sv,
    "while"sv,
    "zcompile"sv,
    "zformat"sv,
    "zle"sv,
    "zmodload"sv,
    "zparseopts"sv,
    "zregexparse"sv,
    "zstyle"sv,
    "{"sv,
    "}"sv,
};
static_assert(std::is_sorted(kBuiltins.begin(), kBuiltins.end()));

// Programs that some Korn shell has built in.
constexpr std::array kKornBuiltins{
    "basename"sv, "cat"sv,    "chgrp"sv,   "chmod"sv,      "chown"sv,   "cmp"sv,      "comm"sv,   "cp"sv,
    "cut"sv,      "date"sv,   "dirname"sv, "domainname"sv, "expr"sv,    "fmt"sv,      "fold"sv,   "getconf"sv,
    "head"sv,     "id"sv,     "join"sv,    "ln"sv,         "logname"sv, "md5sum"sv,   "mkdir"sv,  "mkfifo"sv,
    "mknod"sv,    "mktemp"sv, "mv"sv,      "paste"sv,      "pathchk"sv, "realpath"sv, "rename"sv, "rev"sv,
    "rm"sv,       "rmdir"sv,  "sleep"sv,   "stty"sv,       "sum"sv,     "sync"sv,     "tail"sv,   "tee"sv,
    "tty"sv,      "uname"sv,  "uniq"sv,    "wc"sv,         "who"sv,
};
static_assert(std::is_sorted(kKornBuiltins.begin(), kKornBuiltins.end()));

bool isBlank(char c) {
  return c == ' ' || c == '\t';
}

// Means only itself outside quotes, wherever it stands, in every POSIX-like shell.
bool isPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         "%+,-./:=@_"sv.find(c) != std::string_view::npos;
}

class Splitter {
 public:
  explicit Splitter(std::string_view line) : line_(line) {}

  std::optional<std::vector<std::string>> split() {
    std::vector<std::string> words;
    while (true) {
      while (at_ < line_.size() && isBlank(line_[at_])) ++at_;
      if (at_ == line_.size()) break;
      std::string word;
      if (!takeWord(word, words.empty())) return std::nullopt;
      words.push_back(std::move(word));
    }
    if (words.empty()) return std::nullopt;
    return words;
  }

 private:
  // `=` at its start is an expansion in zsh; anywhere in the first word it may be an assignment.
  bool takeWord(std::string& word, bool first) {
    if (line_[at_] == '=') return false;
    while (at_ < line_.size() && !isBlank(line_[at_])) {
      const char c = line_[at_++];
      if (c == '\'') {
        if (!takeSingleQuoted(word)) return false;
      } else if (c == '"') {
        if (!takeDoubleQuoted(word)) return false;
      } else if (c == '\\') {
        if (at_ == line_.size() || line_[at_] == '\n') return false;
        word += line_[at_++];
      } else if (isPlain(c) && !(first && c == '=')) {
        word += c;
      } else {
        return false;
      }
    }
    return true;
  }

  bool takeSingleQuoted(std::string& word) {
    const auto close = line_.find('\'', at_);
    if (close == line_.npos) return false;
    word += line_.substr(at_, close - at_);
    at_ = close + 1;
    return true;
  }

  bool takeDoubleQuoted(std::string& word) {
    const auto close = line_.find_first_of("\"$`\\!", at_);
    if (close == line_.npos || line_[close] != '"') return false;
    word += line_.substr(at_, close - at_);
    at_ = close + 1;
    return true;
  }

  std::string_view line_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::vector<std::string>> plainWords(std::string_view line) {
  return Splitter(line).split();
}

bool isBuiltin(std::string_view word, ShellKind kind) {
  if (std::binary_search(kBuiltins.begin(), kBuiltins.end(), word)) return true;
  return kind == ShellKind::ksh && std::binary_search(kKornBuiltins.begin(), kKornBuiltins.end(), word);
}

}  // namespace baton::ctl::map
