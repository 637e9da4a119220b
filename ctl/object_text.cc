#include "ctl/object_text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <map>

#include "ipc/error.h"
#include "ipc/escape.h"
#include "ipc/passwd.h"

namespace baton::ctl {
namespace {

namespace wire = ipc::wire;

std::string userName(std::uint32_t uid) {
  // Rows name few users, but many times.
  static std::map<std::uint32_t, std::string> known;
  const auto [entry, isNew] = known.try_emplace(uid);
  if (isNew) entry->second = ipc::passwdName(uid);
  if (entry->second.empty()) entry->second = std::to_string(uid);
  return entry->second;
}

}  // namespace

std::string partyText(wire::Party::Reader party) {
  if (party.getPid() == 0) return "nobody";
  std::string text = fmt::format("pid {}", party.getPid());
  if (party.getProgram().size() > 0) text += fmt::format(" ({})", ipc::escape(party.getProgram().cStr()));
  return text + " of " + ipc::escape(userName(party.getUid()));
}

std::string objectName(wire::ObjectRow::Reader row) {
  const std::string name = ipc::escape(row.getName().cStr());
  return row.getUid() == ::getuid() ? name : ipc::escape(userName(row.getUid())) + ":" + name;
}

std::string modeText(std::uint16_t mode) {
  std::string text;
  for (int shift = 6; shift >= 0; shift -= 3) {
    text += (mode >> shift & 4) != 0 ? 'r' : '-';
    text += (mode >> shift & 2) != 0 ? 'w' : '-';
    text += (mode >> shift & 1) != 0 ? 'x' : '-';
  }
  return text;
}

std::uint16_t modeOf(const std::string& text) {
  constexpr int kOctal = 8;
  constexpr unsigned kMost = 0777;
  unsigned mode = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, mode, kOctal);
  if (error != std::errc() || at != end || mode > kMost) {
    throw Error(Code::usage, "--mode " + text + ": expected permission bits in octal, as 0600 or 660");
  }
  return static_cast<std::uint16_t>(mode);
}

const char* policyName(wire::FullPolicy policy) {
  switch (policy) {
    case wire::FullPolicy::BLOCK:
      return "block";
    case wire::FullPolicy::REJECT:
      return "reject";
    case wire::FullPolicy::DROP_OLDEST:
      return "drop-oldest";
  }
  return "unknown";
}

void listObjects(ipc::Client& client, wire::ObjectKind kind,
                 const std::function<void(wire::ObjectRow::Reader)>& row) {
  constexpr std::uint32_t kPage = 1'000;
  std::string after;
  do {
    ipc::Message request;
    auto list = request.frame().initObjectList();
    list.setKind(kind);
    list.setAfter(after);
    list.setLimit(kPage);
    const auto reply = client.call(request);
    for (const auto each : reply.get().getObjects().getRows()) row(each);
    after = reply.get().getObjects().getNext();
  } while (!after.empty());
}

ipc::ReceivedFrame showObject(ipc::Client& client, wire::ObjectKind kind, const std::string& name) {
  ipc::Message request;
  auto show = request.frame().initObjectShow();
  show.setKind(kind);
  show.setName(name);
  return client.call(request);
}

void removeObjects(ipc::Client& client, wire::ObjectKind kind, const std::vector<std::string>& names,
                   bool force) {
  for (const std::string& name : names) {
    ipc::Message request;
    auto remove = request.frame().initObjectRemove();
    remove.setKind(kind);
    remove.setName(name);
    remove.setForce(force);
    client.call(request);
  }
}

}  // namespace baton::ctl
