// The frame reader, fed in pieces: it takes the same frames however the bytes come, and whatever is in a
// frame can be walked through to its end.
#include <capnp/any.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "ipc/error.h"
#include "ipc/frame.h"
#include "tests/fuzz/target.h"

namespace {

using namespace baton;

constexpr std::size_t kLimit = std::size_t{64} << 10;

struct Taken {
  std::vector<std::uint64_t> ids;
  Code end = Code::ok;
  bool operator==(const Taken&) const = default;
};

// Everything in the frame, as far as the limits of reading allow.
void walk(ipc::wire::Frame::Reader frame) {
  static_cast<void>(capnp::AnyStruct::Reader(frame).totalSize());
  static_cast<void>(frame.which());
  if (!frame.isSubmit()) return;
  const auto submit = frame.getSubmit();
  std::size_t bytes = submit.getOptions().getName().size();
  for (const auto word : submit.getArgv()) bytes += word.size();
  if (submit.getContext().isInline()) {
    for (const auto entry : submit.getContext().getInline().getEnvironment()) bytes += entry.size();
  }
  if (bytes > 64 * kLimit) std::abort();  // far beyond the traversal limit
}

Taken take(std::span<const std::byte> bytes, std::span<const std::uint8_t> pieces) {
  Taken taken;
  const auto budget = std::make_shared<ipc::Budget>(kLimit);
  ipc::FrameReader reader(kLimit, budget);
  std::size_t piece = 0;
  try {
    while (true) {
      while (const auto frame = reader.next()) {
        taken.ids.push_back(frame->get().getId());
        if (budget->used() != frame->charge.bytes()) std::abort();
        try {
          walk(frame->get());
        } catch (const kj::Exception&) {
          // It can be framed, but not be read.
        }
      }
      if (bytes.empty()) return taken;
      const std::size_t wanted = pieces.empty() ? bytes.size() : 1U + pieces[piece++ % pieces.size()];
      const std::size_t size = std::min(wanted, bytes.size());
      if (!reader.admit()) std::abort();  // one frame is all there is
      auto room = reader.room(size);
      if (room.size() < size || room.size() > 4 * kLimit) std::abort();
      std::copy_n(bytes.begin(), size, room.begin());
      reader.added(size);
      bytes = bytes.subspan(size);
    }
  } catch (const Error& error) {
    taken.end = error.code();
  } catch (const kj::Exception&) {
    taken.end = Code::usage;
  }
  return taken;
}

}  // namespace

// The first 8 bytes say the sizes of the pieces.
void fuzzOne(std::span<const std::uint8_t> input) {
  const auto pieces = input.first(std::min<std::size_t>(8, input.size()));
  const auto bytes = std::as_bytes(input.subspan(pieces.size()));
  if (take(bytes, pieces) != take(bytes, {})) std::abort();
}
