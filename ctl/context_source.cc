#include "ctl/context_source.h"

#include <capnp/serialize.h>

#include "ipc/error.h"
#include "ipc/units.h"
#include "shm/memfd.h"

namespace baton::ctl {
namespace {

constexpr std::size_t kWord = sizeof(capnp::word);

std::size_t dataBytes(std::size_t length) {
  return (length + kWord - 1) / kWord * kWord + kWord;
}

// What the context takes on the wire, within a few hundred bytes.
std::size_t sizeOf(const ipc::Surroundings& surroundings) {
  constexpr std::size_t kFixed = 512;
  std::size_t bytes = kFixed + dataBytes(surroundings.cwd.size()) + dataBytes(surroundings.affinity.size());
  for (const std::string& entry : surroundings.environment) bytes += dataBytes(entry.size());
  return bytes;
}

}  // namespace

void writeContextSource(const ipc::Surroundings& surroundings, ipc::wire::ContextSource::Builder source,
                        ipc::Message& message) {
  const std::size_t estimate = sizeOf(surroundings);
  if (estimate <= kMaxInlineContextBytes) {
    ipc::writeContext(surroundings, source.initInline());
    return;
  }
  if (estimate > kMaxContextBytes) {
    throw Error(Code::tooLarge,
                "the environment is larger than " + ipc::formatSize(kMaxContextBytes) + "; try --env=none");
  }
  // Room for all of it in the first segment.
  capnp::MallocMessageBuilder builder(static_cast<unsigned>(estimate / kWord));
  ipc::writeContext(surroundings, builder.initRoot<ipc::wire::Context>());
  const auto words = capnp::messageToFlatArray(builder);
  const auto bytes = words.asBytes();
  message.attach(shm::sealedMemfd(std::as_bytes(std::span(bytes.begin(), bytes.size()))));
  source.setMemfdBytes(bytes.size());
}

void writeArgv(const std::vector<std::string>& words, capnp::List<capnp::Data>::Builder argv) {
  for (unsigned i = 0; i < argv.size(); ++i) {
    argv.set(i, {reinterpret_cast<const capnp::byte*>(words[i].data()), words[i].size()});
  }
}

}  // namespace baton::ctl
