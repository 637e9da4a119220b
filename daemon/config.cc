#include "daemon/config.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <sstream>
#include <toml.hpp>

#include "daemon/config_keys.h"
#include "daemon/slots.h"
#include "ipc/error.h"
#include "ipc/escape.h"
#include "ipc/units.h"
#include "shm/fd.h"

namespace baton::daemon {
namespace {

using std::chrono::nanoseconds;

// A file of settings is some lines; a larger one is a mistake (a log, a device).
constexpr std::size_t kMaxFileBytes = 1 << 20;

[[noreturn]] void refuse(const std::string& file, std::size_t line, const std::string& text) {
  throw Error(Code::usage, ipc::escape(file) + ":" + std::to_string(line) + ": " + text);
}

[[noreturn]] void cannotRead(const std::string& path) {
  throwErrno("cannot read the configuration " + ipc::escape(path));
}

// Empty: there is no such file.
std::optional<std::string> readFile(const std::string& path) {
  // A FIFO in its place must not hang the daemon.
  const shm::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    cannotRead(path);
  }
  std::string text;
  std::string chunk(65'536, '\0');
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannotRead(path);
    if (got == 0) return text;
    text.append(chunk, 0, static_cast<std::size_t>(got));
    if (text.size() > kMaxFileBytes) refuse(path, 1, "this is no configuration: larger than 1M");
  }
}

std::vector<std::string> dropIns(const std::string& directory) {
  std::vector<std::string> paths;
  if (directory.empty()) return paths;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
  if (!entries) {
    if (errno == ENOENT) return paths;
    cannotRead(directory);
  }
  errno = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (!name.ends_with(".toml") || name.starts_with('.')) continue;
    paths.push_back(directory + "/");
    paths.back() += name;
  }
  if (errno != 0) cannotRead(directory);
  std::sort(paths.begin(), paths.end());
  return paths;
}

// toml11 recurses for each level of brackets and each dot of a key, without bound. No key of ours has any.
bool nestedTooDeep(std::string_view text) {
  constexpr int kDeepest = 64;
  int brackets = 0;
  int dots = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++brackets;
    if ((c == ']' || c == '}') && brackets > 0) --brackets;
    if (c == '.') ++dots;
    if (c == '\n') dots = 0;
    if (brackets > kDeepest || dots > kDeepest) return true;
  }
  return false;
}

// The sentence in toml11's report, which is several lines with the source underlined:
// "[error] toml::parse_key_value_pair: missing key-value separator `=`\n --> file\n ...".
std::string syntaxText(std::string_view report) {
  std::string_view text = report.substr(0, report.find('\n'));
  for (const std::string_view prefix : {"[error] ", "toml::", "detail::"}) {
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  }
  const std::size_t colon = text.find(": ");
  if (colon != std::string_view::npos && text.substr(0, colon).find(' ') == std::string_view::npos) {
    text.remove_prefix(colon + 2);
  }
  if (text == "invalid line format")
    return "invalid line format; a value with a unit needs quotes, as \"10s\"";
  return text.empty() ? "not TOML" : ipc::escape(text);
}

std::string typeText(const toml::value& value) {
  switch (value.type()) {
    case toml::value_t::boolean:
      return value.as_boolean() ? "true" : "false";
    case toml::value_t::integer:
      return std::to_string(value.as_integer());
    case toml::value_t::string:
      return "\"" + ipc::escape(value.as_string().str) + "\"";
    case toml::value_t::floating:
      return "a number with a fraction";
    case toml::value_t::array:
      return "an array";
    case toml::value_t::table:
      return "a table";
    default:
      return "a date or time";
  }
}

// Where the first byte stands that is no UTF-8; the text's size: nowhere.
std::size_t findNoUtf8(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  for (std::size_t at = 0; at < text.size();) {
    const unsigned first = byte(at);
    const std::size_t more = first < 0x80   ? 0
                             : first < 0xc2 ? 4
                             : first < 0xe0 ? 1
                             : first < 0xf0 ? 2
                             : first < 0xf5 ? 3
                                            : 4;
    if (more == 4) return at;
    const unsigned second = byte(at + 1);
    const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    const bool beyond = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
    if (more > 0 && (overlong || beyond)) return at;
    for (std::size_t i = 1; i <= more; ++i) {
      if ((byte(at + i) & 0xc0) != 0x80) return at;
    }
    at += more + 1;
  }
  return text.size();
}

}  // namespace

// Puts the values of one file over those loaded so far.
class ConfigReader {
 public:
  ConfigReader(LoadedConfig& loaded, const std::string& file) : loaded_(loaded), file_(file) {}

  void read(const std::string& text) {
    const toml::value root = parse(text);
    for (const auto& [name, value] : root.as_table()) set(name, value);
  }

 private:
  toml::value parse(const std::string& text) const {
    if (const auto at = findNoUtf8(text); at < text.size()) {
      // toml11 3.7 reads beyond its buffer to tell of it.
      const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      refuse(file_, static_cast<std::size_t>(line), "syntax: a byte that is no UTF-8");
    }
    if (nestedTooDeep(text)) refuse(file_, 1, "syntax: nested too deep; no key takes an array or a table");
    std::istringstream stream(text);
    try {
      return toml::parse(stream, file_);
    } catch (const toml::exception& error) {
      refuse(file_, error.location().line(), "syntax: " + syntaxText(error.what()));
    } catch (const std::exception& error) {
      refuse(file_, 1, "syntax: " + syntaxText(error.what()));
    }
  }

  void set(const std::string& name, const toml::value& value) {
    const std::size_t line = value.location().line();
    const ConfigKey* key = findConfigKey(name);
    if (key == nullptr) refuse(file_, line, unknown(name));
    std::visit([&](auto member) { assign(*key, value, loaded_.values_.*member); }, key->member);
    loaded_.sources_[name] = file_;
  }

  static std::string unknown(const std::string& name) {
    std::vector<std::string_view> names;
    for (const ConfigKey& key : configKeys()) names.push_back(key.name);
    std::string text = "there is no key '" + ipc::escape(name) + "'";
    if (const auto near = ipc::nearest(name, names))
      return text + "; did you mean '" + std::string(*near) + "'?";
    text += "; keys are";
    for (const auto& known : names) text.append(&known == names.data() ? " " : ", ").append(known);
    return text;
  }

  [[noreturn]] void wrong(const ConfigKey& key, const toml::value& value) const {
    std::string text = std::string(key.name) + " = " + typeText(value) + ": expected " + configExpected(key);
    if (value.is_integer() && std::holds_alternative<std::string Config::*>(key.member))
      text += ", at least one";
    refuse(file_, value.location().line(), text);
  }

  void assign(const ConfigKey& key, const toml::value& value, std::string& slots) const {
    std::string text;
    if (value.is_integer()) text = std::to_string(value.as_integer());
    if (value.is_string()) text = value.as_string().str;
    if (!parseSlots(text)) wrong(key, value);
    slots = text;
  }

  void assign(const ConfigKey& key, const toml::value& value, std::uint64_t& number) const {
    if (value.is_string() && key.size) {
      const auto bytes = ipc::parseSize(value.as_string().str);
      if (!bytes) wrong(key, value);
      number = inRange(key, value, *bytes);
    } else if (value.is_integer() && value.as_integer() >= 0) {
      number = inRange(key, value, static_cast<std::uint64_t>(value.as_integer()));
    } else {
      wrong(key, value);
    }
  }

  void assign(const ConfigKey& key, const toml::value& value, nanoseconds& duration) const {
    std::string text;
    if (value.is_integer()) text = std::to_string(value.as_integer());
    if (value.is_string()) text = value.as_string().str;
    const auto parsed = ipc::parseDuration(text);
    if (!parsed) wrong(key, value);
    inRange(key, value, static_cast<std::uint64_t>(parsed->count()));
    duration = *parsed;
  }

  void assign(const ConfigKey& key, const toml::value& value, bool& flag) const {
    if (!value.is_boolean()) wrong(key, value);
    flag = value.as_boolean();
  }

  std::uint64_t inRange(const ConfigKey& key, const toml::value& value, std::uint64_t number) const {
    if (number == 0 && key.zeroToo) return number;
    if (number < key.least || number > key.most) wrong(key, value);
    return number;
  }

  LoadedConfig& loaded_;
  const std::string& file_;
};

LoadedConfig LoadedConfig::load(const std::string& mainFile, const std::string& dropInDirectory) {
  LoadedConfig loaded;
  std::vector<std::string> files = dropIns(dropInDirectory);
  if (!mainFile.empty()) files.insert(files.begin(), mainFile);
  for (const std::string& file : files) {
    if (const auto text = readFile(file)) ConfigReader(loaded, file).read(*text);
  }
  const Config& values = loaded.values_;
  if (values.logTotal < values.logPerTask) {
    const std::string& set = loaded.sources_.contains("log_total") ? "log_total" : "log_per_task";
    throw Error(Code::usage, ipc::escape(loaded.sources_[set]) + ": log_total (" +
                                 ipc::spellSize(values.logTotal) + ") is less than log_per_task (" +
                                 ipc::spellSize(values.logPerTask) + ")");
  }
  return loaded;
}

std::vector<ConfigLine> LoadedConfig::lines() const {
  std::vector<ConfigLine> lines;
  for (const ConfigKey& key : configKeys()) {
    const auto source = sources_.find(std::string(key.name));
    lines.push_back({.key = std::string(key.name),
                     .value = configValue(values_, key),
                     .source = source == sources_.end() ? "default" : source->second,
                     .meaning = std::string(key.meaning)});
  }
  return lines;
}

std::vector<std::string> diffConfig(const Config& from, const Config& to) {
  std::vector<std::string> lines;
  for (const ConfigKey& key : configKeys()) {
    const std::string before = configValue(from, key);
    const std::string after = configValue(to, key);
    if (before == after) continue;
    std::string line(key.name);
    line.append(": ").append(before).append(" -> ").append(after);
    if (key.inForce == InForce::newConnections) line += " (for connections made from now on)";
    if (key.inForce == InForce::newWorkers) line += " (for workers started from now on)";
    if (key.inForce == InForce::restart) line += " (after a restart)";
    lines.push_back(line);
  }
  return lines;
}

}  // namespace baton::daemon
