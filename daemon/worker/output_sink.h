// Where what a task prints goes.
#pragma once

#include <cstdint>
#include <string_view>

namespace baton::worker {

class OutputSink {
 public:
  virtual ~OutputSink() = default;
  // False: the task's pipes are not to be read now; what it prints then waits in them, and so does the task.
  virtual bool hasRoom() const = 0;
  // `stream` is 1 or 2. At most 64 KiB. Only while hasRoom().
  virtual void write(std::uint8_t stream, std::string_view bytes) = 0;
};

}  // namespace baton::worker
