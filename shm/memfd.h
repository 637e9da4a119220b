// Sealed memory files: how payloads larger than a frame travel. Any thread.
//
// Invariants
// 1. What `sealedMemfd` returns can neither change nor shrink nor grow: it is sealed before anyone else has
// it.
// 2. `readSealedMemfd` touches a foreign descriptor only by F_GET_SEALS and fstat until both say that it is a
//    memfd that can not change; so no peer can block the reader or shrink the file under it.
// A death at any step leaves nothing: a memfd ends with its last descriptor.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "shm/fd.h"

namespace baton::shm {

// Throws std::system_error.
Fd sealedMemfd(std::span<const std::byte> bytes);

// A private copy of the content. nullopt: not a memfd, not sealed SHRINK|GROW|WRITE, or not of `sizeBytes`.
std::optional<std::vector<std::byte>> readSealedMemfd(int fd, std::size_t sizeBytes);

// True for any memfd, whatever its seals. Never blocks.
bool isMemfd(int fd);

}  // namespace baton::shm
