// How surroundings travel with a request: in its frame, or in a sealed memfd when they are large.
#pragma once

#include "ipc/frame.h"
#include "ipc/surroundings.h"

namespace baton::ctl {

inline constexpr std::size_t kMaxInlineContextBytes = 256 * 1024;
inline constexpr std::size_t kMaxContextBytes = 2 * 1024 * 1024;

// Fills `source`, which belongs to `message`; a memfd is attached to it, behind what is attached already, so
// attach a parcel first. Throws Error(tooLarge).
void writeContextSource(const ipc::Surroundings& surroundings, ipc::wire::ContextSource::Builder source,
                        ipc::Message& message);

// `words` as argv on the wire. Throws nothing; bytes go as they are.
void writeArgv(const std::vector<std::string>& words, capnp::List<capnp::Data>::Builder argv);

}  // namespace baton::ctl
