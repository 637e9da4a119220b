#include "daemon/object_names.h"

#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <memory>
#include <vector>

#include "ipc/error.h"
#include "ipc/escape.h"

namespace baton::daemon {
namespace {

// (uid_t)-1 means "no uid" to the kernel: nobody can connect as that.
constexpr Uid kNobody = static_cast<Uid>(-1);

bool isNameByte(char byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
         std::string_view("._@/+-").find(byte) != std::string_view::npos;
}

std::optional<Uid> numberOf(std::string_view digits) {
  Uid uid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), uid);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return uid;
}

}  // namespace

bool isObjectName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), isNameByte);
}

std::optional<Uid> userId(std::string_view user) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/etc/passwd", "re"), &std::fclose);
  if (!file) return std::nullopt;
  while (const passwd* entry = ::fgetpwent(file.get())) {
    if (user == entry->pw_name) return entry->pw_uid;
  }
  return std::nullopt;
}

ObjectKey resolveName(std::string_view text, Uid asker,
                      const std::function<std::optional<Uid>(std::string_view)>& userOf) {
  const std::size_t colon = text.find(':');
  const std::string_view name = colon == text.npos ? text : text.substr(colon + 1);
  // The text is shown back, and may be as long as a frame.
  const auto shown = [&] { return ipc::escape(text.substr(0, kMaxNameBytes)); };
  if (name.size() > kMaxNameBytes) {
    throw Error(Code::usage, "a name of " + std::to_string(name.size()) + " bytes; at most 128 are allowed");
  }
  if (!isObjectName(name)) {
    throw Error(Code::usage, "\"" + shown() + "\" is no name: use letters, digits and . _ @ / + -");
  }
  if (colon == text.npos) return {asker, std::string(name)};
  const std::string_view owner = text.substr(0, colon);
  if (owner.empty() || owner.size() > kMaxNameBytes) {
    throw Error(Code::usage,
                "\"" + shown() + "\" is no name: expected OWNER:NAME, with a user's name or uid");
  }
  if (const auto uid = numberOf(owner)) return {*uid, std::string(name)};
  return {userOf(owner).value_or(kNobody), std::string(name)};
}

std::string spell(const ObjectKey& key, Uid asker) {
  return key.uid == asker ? key.name : std::to_string(key.uid) + ":" + key.name;
}

std::string unknownName(std::string_view kind, std::string_view asked,
                        std::span<const std::string_view> others) {
  std::string text = "no " + std::string(kind) + " " + ipc::escape(asked);
  if (const auto near = ipc::nearest(asked, others)) {
    text += "; there is " + ipc::escape(*near);
  } else if (others.empty()) {
    text += "; there is none at all";
  }
  return text;
}

}  // namespace baton::daemon
