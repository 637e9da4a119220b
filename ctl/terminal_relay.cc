#include "ctl/terminal_relay.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "ipc/error.h"

namespace baton::ctl {

void TerminalRelay::attach(shm::Fd master) {
  const int flags = ::fcntl(master.get(), F_GETFL);
  if (flags < 0 || ::fcntl(master.get(), F_SETFL, flags | O_NONBLOCK) < 0) {
    throwErrno("cannot use the task's pseudo-terminal");
  }
  while (!drained()) {
    pollfd wait{terminal_.fd(), POLLOUT, 0};
    ::poll(&wait, 1, -1);
  }
  master_ = std::move(master);
  masterEnded_ = false;
  typed_.clear();
}

void TerminalRelay::prepare(pollfd& terminal, pollfd& master) const {
  terminal = {-1, 0, 0};
  master = {-1, 0, 0};
  if (!attached()) {
    return;
  }
  short forTerminal = 0;
  if (!terminalGone_ && !shown_.empty()) forTerminal |= POLLOUT;
  if (!inputEnded_ && terminal_.raw() && typed_.room() > 0) forTerminal |= POLLIN;
  short forMaster = 0;
  if (!masterEnded_ && shown_.room() > kChunkBytes) forMaster |= POLLIN;
  if (!masterEnded_ && !typed_.empty()) forMaster |= POLLOUT;
  if (forTerminal != 0) terminal = {terminal_.fd(), forTerminal, 0};
  if (forMaster != 0) master = {master_.get(), forMaster, 0};
}

void TerminalRelay::handle(const pollfd& terminal, const pollfd& master) {
  constexpr short kEnd = POLLHUP | POLLERR;
  if ((master.revents & kEnd) != 0) typed_.clear();  // nobody is there to read it
  if ((master.revents & (POLLIN | kEnd)) != 0) readMaster();
  if ((terminal.revents & (POLLIN | kEnd)) != 0) readTerminal();
  // Tried at once: it nearly always succeeds and saves a turn of the loop, which is what typing feels.
  if (!shown_.empty()) writeTerminal();
  if (!typed_.empty()) writeMaster();
}

bool TerminalRelay::drained() {
  if (!attached()) {
    return true;
  }
  while (true) {
    const bool read = readMaster();
    if (!shown_.empty() && !writeTerminal()) return false;
    if (read || !shown_.empty()) continue;
    std::string rest;
    filter_.finish(rest);
    if (rest.empty()) return true;
    shown_.append(rest);
  }
}

bool TerminalRelay::readMaster() {
  if (masterEnded_ || shown_.room() <= kChunkBytes) {
    return false;
  }
  std::array<char, kChunkBytes> chunk;
  const ssize_t got = ::read(master_.get(), chunk.data(), chunk.size());
  if (got <= 0) {
    masterEnded_ = got == 0 || (errno != EAGAIN && errno != EINTR);
    return false;
  }
  std::string text;
  const std::string_view bytes(chunk.data(), static_cast<std::size_t>(got));
  if (terminal_.shared()) followTranslation();
  if (terminal_.translatesNewlines()) {
    filter_.pass(bytes, text);
  } else {
    filter_.finish(text);
    text += bytes;
  }
  shown_.append(text);
  return true;
}

void TerminalRelay::followTranslation() {
  termios inner{};
  if (::tcgetattr(master_.get(), &inner) < 0) {
    return;
  }
  const bool wanted = (inner.c_oflag & OPOST) != 0;
  if (wanted != terminal_.translatesNewlines()) terminal_.translateNewlines(wanted);
}

bool TerminalRelay::writeTerminal() {
  if (terminalGone_) {
    shown_.clear();
    return true;
  }
  const auto result = shown_.drainTo(terminal_.fd());
  if (result == ByteQueue::Io::closed) {
    terminalGone_ = true;
    shown_.clear();
  }
  return result != ByteQueue::Io::wouldBlock;
}

void TerminalRelay::readTerminal() {
  if (inputEnded_ || !terminal_.raw() || typed_.room() == 0) {
    return;
  }
  inputEnded_ = typed_.fillFrom(terminal_.fd()) == ByteQueue::Io::closed;
  interruptTyped_ = interruptTyped_ || typed_.contains(terminal_.interruptKey());
}

void TerminalRelay::writeMaster() {
  if (masterEnded_) {
    typed_.clear();
    return;
  }
  if (typed_.drainTo(master_.get()) == ByteQueue::Io::closed) typed_.clear();
}

}  // namespace baton::ctl
