// The terminal that batonctl was started on: who is in front of it, its size, and raw mode that ends with us.
#pragma once

#include <termios.h>

#include <array>
#include <cstdint>
#include <optional>

#include "shm/fd.h"

namespace baton::ctl {

class Terminal {
 public:
  // The controlling terminal of this process, opened anew, so that non-blocking mode is ours alone.
  // nullopt: there is none.
  static std::optional<Terminal> open();

  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() { restore(); }

  // Non-blocking.
  int fd() const { return fd_.get(); }
  // True while the terminal listens to this process's group.
  bool inForeground() const;

  // Every byte comes as it is typed: no echo, no line editing, no key makes a signal. What is written goes
  // out as it is; but `shared`, for a pipeline whose other programs write too, newlines are translated as
  // before. Only from the foreground; false: not there, or the terminal is gone.
  bool enterRaw(bool shared = false);
  // Puts back what enterRaw() found. Does nothing when not raw, or when somebody else is in front by now.
  void restore();
  bool raw() const { return saved_.has_value(); }
  // What interrupts when it is not raw.
  char interruptKey() const { return static_cast<char>((saved_ ? *saved_ : atStart_).c_cc[VINTR]); }
  // True while it makes "\r\n" of each "\n" that is written.
  bool translatesNewlines() const;
  // While it is raw.
  void translateNewlines(bool on);
  bool shared() const { return raw() && shared_; }

  // Gives a pseudo-terminal this one's size; the kernel tells its foreground when that is a change.
  void copySizeTo(int master) const;
  // Gives it this one's settings. From the background only what is no matter of the moment: the settings are
  // then those of a shell that reads a line.
  void copySettingsTo(int master) const;

 private:
  explicit Terminal(shm::Fd fd);

  shm::Fd fd_;
  termios atStart_{};
  bool foregroundAtStart_ = false;
  std::optional<termios> saved_;
  bool shared_ = false;
};

// Bit n: descriptor n of 0, 1, 2 is the controlling terminal. Others that are terminals are not meant: they
// are passed on like files.
std::uint8_t standardTerminals();

}  // namespace baton::ctl
