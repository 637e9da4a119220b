// Carries bytes between the user's terminal and the pseudo-terminal of a task. Owns no loop: the caller
// polls.
//
// 1. Nothing is lost or reordered; at most kBufferBytes wait in each direction, then the side that sends is
//    not read until there is room, so a slow terminal holds the task back.
// 2. What is typed is read only while the terminal is raw, which is: while the task is in front.
// 3. What the task wrote before it stopped or ended is all carried once drained() says so.
#pragma once

#include <poll.h>

#include "ctl/byte_queue.h"
#include "ctl/newline_filter.h"
#include "ctl/terminal.h"
#include "shm/fd.h"

namespace baton::ctl {

class TerminalRelay {
 public:
  // `terminal` must outlive it.
  explicit TerminalRelay(Terminal& terminal) : terminal_(terminal) {}

  // Begins to carry for this pseudo-terminal. What an earlier one still had goes out first: may block.
  void attach(shm::Fd master);
  bool attached() const { return static_cast<bool>(master_); }
  // Size and settings of the terminal. attached() is required.
  void copySizeToMaster() const { terminal_.copySizeTo(master_.get()); }
  void copySettingsToMaster() const { terminal_.copySettingsTo(master_.get()); }

  // What to poll for next; descriptors are -1 where there is nothing to wait for.
  void prepare(pollfd& terminal, pollfd& master) const;
  // After the poll.
  void handle(const pollfd& terminal, const pollfd& master);

  // True if the key that interrupts (Ctrl-C) was typed.
  bool interruptTyped() const { return interruptTyped_; }

  // Moves on until the task's side has nothing more to read for now, and nothing waits for the terminal.
  // False: the terminal takes no more at present; poll and call again.
  [[nodiscard]] bool drained();

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{64} << 10;
  // The kernel hands out at most 4 KiB of a pseudo-terminal at once; one byte more can be held by the filter.
  static constexpr std::size_t kChunkBytes = 4096;

  // False: nothing there, no room, or the end.
  bool readMaster();
  // The terminal translates newlines if the task's does, so that others that write to it come out well.
  void followTranslation();
  bool writeTerminal();
  void readTerminal();
  void writeMaster();

  Terminal& terminal_;
  shm::Fd master_;
  bool masterEnded_ = false;
  bool inputEnded_ = false;
  bool terminalGone_ = false;
  bool interruptTyped_ = false;
  ByteQueue typed_{kBufferBytes};
  ByteQueue shown_{kBufferBytes};
  NewlineFilter filter_;
};

}  // namespace baton::ctl
