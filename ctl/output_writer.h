// Writes to one of batonctl's own outputs without ever blocking, and without changing it for the others that
// have it: a pipe or terminal is opened anew for that.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "shm/fd.h"

namespace baton::ctl {

class OutputWriter {
 public:
  // `fd` stays the caller's and open.
  explicit OutputWriter(int fd);

  // Copies; grows without bound, so look at pending().
  void append(std::string_view bytes) { buffer_ += bytes; }
  std::size_t pending() const { return buffer_.size() - sent_; }
  // Writes what is taken at once. True: nothing is left. A reader that has gone ends the process by SIGPIPE.
  // Throws Error(system) for any other failure.
  bool flush();
  // To be polled for output while something is pending.
  int fd() const { return own_ ? own_.get() : fd_; }

 private:
  enum class Kind { never, opened, socket, chunks };  // how it is kept from blocking

  // Bytes written; 0: it takes none now.
  std::size_t writeSome(std::string_view bytes);

  int fd_;
  Kind kind_;
  shm::Fd own_;
  std::string buffer_;
  std::size_t sent_ = 0;
};

}  // namespace baton::ctl
