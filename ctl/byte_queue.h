// Bytes on their way between two non-blocking descriptors: first in, first out, never more than the capacity.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace baton::ctl {

class ByteQueue {
 public:
  explicit ByteQueue(std::size_t capacityBytes) : bytes_(capacityBytes) {}

  bool empty() const { return begin_ == end_; }
  std::size_t size() const { return end_ - begin_; }
  std::size_t room() const { return bytes_.size() - size(); }

  bool contains(char byte) const {
    return std::string_view(bytes_.data() + begin_, size()).find(byte) != std::string_view::npos;
  }

  // `bytes` must fit into room().
  void append(std::string_view bytes);
  void clear() { begin_ = end_ = 0; }

  enum class Io { moved, wouldBlock, closed };
  // One read of what fits. room() must not be 0. `closed`: end of file or error.
  Io fillFrom(int fd);
  // One write of what is there; the descriptor may take less. The queue must not be empty.
  Io drainTo(int fd);

 private:
  void compact();

  std::vector<char> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace baton::ctl
