#include "daemon/context_table.h"

#include <capnp/any.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "ipc/error.h"
#include "ipc/surroundings.h"

namespace baton::daemon {
namespace {

constexpr const char* kLimitNames[] = {
    "cpu time (-t)",       "file size (-f)",     "data size (-d)",          "stack size (-s)",
    "core size (-c)",      "resident size (-m)", "processes (-u)",          "open files (-n)",
    "locked memory (-l)",  "address space (-v)", "file locks (-x)",         "pending signals (-i)",
    "message queues (-q)", "nice priority (-e)", "real-time priority (-r)", "real-time time (-R)"};

std::string_view bytesOf(kj::ArrayPtr<const capnp::word> words) {
  return {reinterpret_cast<const char*>(words.begin()), words.size() * sizeof(capnp::word)};
}

}  // namespace

Context::Context(kj::Array<capnp::word> words, std::uint64_t hash)
    : words_(kj::mv(words)), hash_(hash), segment_(words_) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = UINT64_MAX;  // our own canonical copy, read once for every task
  message_ = std::make_unique<capnp::SegmentArrayMessageReader>(kj::arrayPtr(&segment_, 1), options);
  reader_ = message_->getRoot<ipc::wire::Context>();
}

std::string Context::cwd() const {
  const auto cwd = reader_.getCwd();
  return {reinterpret_cast<const char*>(cwd.begin()), cwd.size()};
}

Powers Powers::ofThisProcess() {
  Powers powers;
  powers.mayRaise = ::geteuid() == 0;
  for (int i = 0; i < 16; ++i) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(i), &limit);
    powers.hardLimits[i] = limit.rlim_max;
  }
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  const auto allowed = static_cast<int>(std::min<std::uint64_t>(powers.hardLimits[RLIMIT_NICE], 40));
  powers.nice = std::min(nice, 20 - allowed);
  return powers;
}

void ContextTable::check(ipc::wire::Context::Reader context) const {
  const auto surroundings = ipc::readContext(context);
  if (powers_.mayRaise) return;
  for (std::size_t i = 0; i < surroundings.limitsTold; ++i) {
    if (surroundings.limits[i].hard > powers_.hardLimits[i]) {
      throw Error(Code::refused,
                  std::string("your limit of ") + kLimitNames[i] +
                      " is above the daemon's own; lower it with ulimit, or restart the daemon "
                      "from here (batonctl stop)");
    }
  }
  if (surroundings.nice < powers_.nice) {
    throw Error(Code::refused, "the nice value " + std::to_string(surroundings.nice) +
                                   " is below what the daemon may give (" + std::to_string(powers_.nice) +
                                   ")");
  }
}

std::shared_ptr<const Context> ContextTable::intern(ipc::wire::Context::Reader context) {
  auto words = capnp::canonicalize(context);
  const auto bytes = bytesOf(words);
  const std::uint64_t hash = std::hash<std::string_view>{}(bytes);
  const auto [begin, end] = entries_->equal_range(hash);
  for (auto entry = begin; entry != end; ++entry) {
    if (auto known = entry->second.lock(); known && bytesOf(known->words()) == bytes) return known;
  }
  check(context);
  // A few bytes can be pointed to many times: what counts is the copy.
  if (bytes.size() > kMaxContextBytes) {
    throw Error(Code::tooLarge, "environment and arguments of a task take at most 2 MiB, not " +
                                    std::to_string(bytes.size()) + " bytes");
  }
  const std::size_t charge = bytes.size() + kBookkeepingBytes;
  if (*used_ + charge > limit_) {
    throw Error(Code::quota, "the distinct environments of waiting tasks would take more than " +
                                 std::to_string(limit_ >> 20) + " MiB (config context_bytes)");
  }
  *used_ += charge;
  auto release = [entries = entries_, used = used_](const Context* gone) {
    *used -= gone->charge();
    const auto [first, last] = entries->equal_range(gone->hash());
    for (auto entry = first; entry != last;) {
      entry = entry->second.expired() ? entries->erase(entry) : std::next(entry);
    }
    delete gone;
  };
  std::shared_ptr<const Context> made(new Context(kj::mv(words), hash), release);
  entries_->emplace(hash, made);
  return made;
}

}  // namespace baton::daemon
