// The log of one task, read from the files whose descriptors the daemon gives; also while it grows.
//
// While a task runs, its part of a file is open at the end, and another task's records follow as soon as it
// has ended. So nothing that was read there is given out before the daemon has said, after the reading, that
// the task still runs, or where its part ends. In the same way nothing is given out that the writer may have
// punched out of the file while it was read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ctl/selection.h"
#include "ipc/client.h"
#include "ipc/log_records.h"
#include "shm/fd.h"

namespace baton::ctl {

class LogReader {
 public:
  // `client` must outlive it; frames of other requests that come meanwhile go to `others`. Throws
  // Error(unknownId) and what else the daemon replies.
  LogReader(ipc::Client& client, const TaskRef& task, ipc::Client::EventHandler others = {});

  struct Visitor {
    std::function<void(const ipc::LogRecord&)> record;
    // Output that is not in the log would stand here.
    std::function<void(std::uint64_t bytes)> gap;
  };
  // Goes through all that is there now and was not visited yet.
  void read(const Visitor& visitor);
  // Back to the first record.
  void rewind();

  // As of the last read(): more may come.
  bool growing() const { return running_; }
  // Why the log is missing or short; empty: complete.
  const std::string& note() const { return note_; }
  // The file that grows, to be watched; -1: none yet.
  int fd() const { return parts_.empty() ? -1 : parts_.back().fd.get(); }

 private:
  struct Part {
    shm::Fd fd;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // kOpen: where the file ends
  };
  static constexpr std::uint64_t kOpen = ~std::uint64_t{0};

  // Asks the daemon anew.
  void refresh();
  // Replaces the parts, and finds again the one under way.
  void settle(std::vector<Part> parts);
  void startPart(const std::vector<Part>& parts);
  // One piece of the part under way. False: there is nothing more in it now.
  bool readPiece(const Visitor& visitor);
  // How many of the bytes just read at position_ of an open part are surely this task's, and were there
  // still.
  std::size_t confirmed(std::size_t bytes);
  void decode(std::string_view bytes, const Visitor& visitor);
  void passGap(std::uint64_t bytes, const Visitor& visitor);
  // To the next part, if there is one.
  bool nextPart(const Visitor& visitor);

  ipc::Client& client_;
  TaskRef task_;
  ipc::Client::EventHandler others_;
  std::vector<Part> parts_;
  std::uint64_t droppedBytes_ = 0;
  bool gapTold_ = false;
  std::string note_;
  bool running_ = false;
  std::size_t part_ = 0;
  std::uint64_t position_ = 0;
  ipc::LogDecoder decoder_;
  std::string buffer_;
};

}  // namespace baton::ctl
