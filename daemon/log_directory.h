// The directory of a LogStore: makes, opens, measures and removes its files. Single-threaded; short system
// calls.
//
// Below the given directory `live` holds the files of this daemon; that of an earlier one is renamed to
// `old-N` when the first file is made, and removed bit by bit with sweep(). No name contains anything of a
// user's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "shm/fd.h"

namespace baton::daemon {

class LogDirectory {
 public:
  struct Size {
    std::uint64_t bytes = 0;
    std::uint64_t allocated = 0;  // on disk
  };

  // Closes the last descriptor of a removed file. That frees its blocks: 64 MiB can take 70 ms.
  using Close = std::function<void(shm::Fd)>;

  // Touches nothing yet. The parent of `path` must exist when the first file is made.
  LogDirectory(std::string path, Close close);

  // For appending; 0600. Empty: `note` says why. The directory is made where it is absent, and again if it
  // has gone.
  shm::Fd create(const std::string& name, std::string& note);
  shm::Fd open(const std::string& name, std::string& note) const;
  std::optional<Size> sizeOf(const std::string& name) const;
  // Gives the bytes [from, to) back to the file system; whole blocks only. False: it cannot.
  [[nodiscard]] bool punch(const std::string& name, std::uint64_t from, std::uint64_t to) const;
  void remove(const std::string& name) const;

  // Removes some files of earlier daemons; true: call again.
  bool sweep();
  // Removes everything; may take a while.
  void removeAll();

 private:
  bool prepare(std::string& note);
  bool setLiveAside(std::string& note) const;
  bool discard(int directory, const std::string& name) const;
  bool removeSome(const std::string& name) const;

  std::string path_;
  Close close_;
  shm::Fd base_;
  shm::Fd live_;
  bool swept_ = false;
};

}  // namespace baton::daemon
