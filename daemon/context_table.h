// Contexts, each kept once however many tasks share it, and charged to a bound in all. Single-threaded.
#pragma once

#include <capnp/message.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "ipc/baton.capnp.h"

namespace baton::daemon {

// Linux itself takes no more than 2 MiB of environment and arguments with the usual stack limit of 8 MiB.
constexpr std::size_t kMaxContextBytes = std::size_t{2} << 20;

// Of each context, measured: the object, its reader, its place in the table.
constexpr std::size_t kBookkeepingBytes = 512;

// An interned context. Immutable; lives as long as a task refers to it.
class Context {
 public:
  Context(kj::Array<capnp::word> words, std::uint64_t hash);
  ipc::wire::Context::Reader get() const { return reader_; }
  kj::ArrayPtr<const capnp::word> words() const { return words_; }
  std::size_t bytes() const { return words_.size() * sizeof(capnp::word); }
  // What it takes in memory, and is charged with: a million tiny ones are not free.
  std::size_t charge() const { return bytes() + kBookkeepingBytes; }
  std::uint64_t hash() const { return hash_; }
  std::string cwd() const;

 private:
  kj::Array<capnp::word> words_;
  std::uint64_t hash_;
  std::unique_ptr<capnp::SegmentArrayMessageReader> message_;
  ipc::wire::Context::Reader reader_;
  kj::ArrayPtr<const capnp::word> segment_;
};

// What this daemon cannot give to a task because it does not have it itself.
struct Powers {
  int nice = 0;  // lowest it may set
  std::uint64_t hardLimits[16];
  bool mayRaise = false;  // root: everything
  static Powers ofThisProcess();
};

class ContextTable {
 public:
  ContextTable(std::uint64_t limitBytes, Powers powers) : limit_(limitBytes), powers_(powers) {}

  // The context with this content. Throws Error(protocol) for a malformed one, Error(refused) for one that
  // asks for more than this daemon may give, Error(quota) when all contexts together would pass the bound.
  std::shared_ptr<const Context> intern(ipc::wire::Context::Reader context);

  void setLimit(std::uint64_t limitBytes) { limit_ = limitBytes; }
  std::uint64_t bytes() const { return *used_; }
  std::size_t size() const { return entries_->size(); }

 private:
  using Entries = std::unordered_multimap<std::uint64_t, std::weak_ptr<const Context>>;
  void check(ipc::wire::Context::Reader context) const;

  std::uint64_t limit_;
  Powers powers_;
  // Shared with the deleters of the contexts, which may outlive the table at the end of the daemon.
  std::shared_ptr<Entries> entries_ = std::make_shared<Entries>();
  std::shared_ptr<std::uint64_t> used_ = std::make_shared<std::uint64_t>(0);
};

}  // namespace baton::daemon
