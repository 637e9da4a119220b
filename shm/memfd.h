// Memory files: the memory that the daemon makes, and sealed payloads that any process makes and sends. Any
// thread.
//
// Invariants
// 1. What `createMemory` returns has all its pages (no SIGBUS and no lack of memory later), keeps its size
// for
//    ever, and can be opened again by nobody but its owner: who gets a read-only descriptor stays read-only.
// 2. What `sealedMemfd` returns can neither change nor shrink nor grow: it is sealed before anyone else has
// it.
// 3. Of a foreign descriptor the seals are asked first. That never blocks, whatever it is, and only a memfd
// has
//    any; nothing else is asked until they say that it can not change. A payload that is not there in full
//    (sparse, punched) is refused: reading would allocate it at the reader's cost, or fault.
// A death at any step leaves nothing: a memfd ends with its last descriptor and mapping.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "shm/fd.h"
#include "shm/mapping.h"

namespace baton::shm {

// Zeroed memory of this size, for both sides to map. Throws std::system_error: ENOMEM, ENOSPC where there is
// no room for all of it, and nothing is left then.
Fd createMemory(std::size_t sizeBytes);

// Another descriptor of the same memory that can only be mapped for reading. Throws std::system_error.
Fd reopenReadOnly(int fd);

// Throws std::system_error.
Fd sealedMemfd(std::span<const std::byte> bytes);

// A payload that somebody else made, for reading in place; nothing can change it. nullopt: not a memfd, not
// sealed SHRINK|GROW|WRITE (FUTURE_WRITE is not enough: older mappings can write), on huge pages, not of
// `sizeBytes`, not allocated in full, or it cannot be mapped.
std::optional<Mapping> mapSealedPayload(int fd, std::size_t sizeBytes);

// A private copy of such a payload, which may be empty.
std::optional<std::vector<std::byte>> readSealedMemfd(int fd, std::size_t sizeBytes);

// True for any memfd, whatever its seals. Never blocks.
bool isMemfd(int fd);

}  // namespace baton::shm
