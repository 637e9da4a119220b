// Names of queues, locks, pipes and shared memories: what is one, whose it is, and what may have been meant.
// Pure but for userId().
//
// An object is known by (owner's uid, name) within its kind. A name is 1 to 128 bytes of A-Z a-z 0-9 . _ @ /
// + -.
#pragma once

#include <compare>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/scheduler_types.h"

namespace baton::daemon {

// Room for a path-like name, and short enough for a line of a listing.
constexpr std::size_t kMaxNameBytes = 128;

struct ObjectKey {
  Uid uid = 0;  // the owner
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;  // NOLINT(modernize-use-nullptr): its own zero
};

// What every object is, whatever its kind.
struct ObjectHead {
  ObjectKey key;
  Gid group = 0;                // its maker's
  std::uint16_t mode = 0600;    // permission bits, as of a file
  std::uint64_t createdNs = 0;  // calendar
};

bool isObjectName(std::string_view name);

// The uid of a user's name, by /etc/passwd alone: a directory service may take its time, and the daemon has
// none.
std::optional<Uid> userId(std::string_view user);

// "NAME", or "OWNER:NAME" with a user's name or uid. An owner that is not known has no objects: it is asked
// for under a uid that nobody has. Throws Error(usage) for what can be no name.
ObjectKey resolveName(std::string_view text, Uid asker,
                      const std::function<std::optional<Uid>(std::string_view)>& userOf = userId);

// As the asker would say it.
std::string spell(const ObjectKey& key, Uid asker);

// "no queue jbos; there is jobs". `others`: those that the asker may see, spelled for it.
std::string unknownName(std::string_view kind, std::string_view asked,
                        std::span<const std::string_view> others);

}  // namespace baton::daemon
