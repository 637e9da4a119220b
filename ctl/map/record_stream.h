// The records of a descriptor that may not have them yet.
#pragma once

#include <string>

#include "ctl/map/record_reader.h"
#include "shm/fd.h"

namespace baton::ctl::map {

enum class Pull {
  record,      // arguments were filled
  wouldBlock,  // wait until waitFd() is readable, then ask again
  end,
};

// The records of one descriptor. Never blocks: it reads only what poll(2) says is there, and changes no flag
// of a descriptor that others share.
class RecordStream {
 public:
  // Opens `path`, or uses `stdinFd` (not owned) for "-". Throws Error(usage) if it cannot be opened.
  RecordStream(const std::string& path, char delimiter, int stdinFd);
  // Throws Error(system) if reading fails, Error(tooLarge) for a record too long.
  Pull next(std::string& record);
  int fd() const { return fd_; }
  bool replacedNul() const { return reader_.replacedNul(); }

 private:
  bool isReadable() const;

  shm::Fd owned_;
  int fd_ = -1;
  std::string name_;
  RecordReader reader_;
  bool ended_ = false;
};

}  // namespace baton::ctl::map
