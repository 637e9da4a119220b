// The one exception type of baton, and the codes that travel in an Error frame.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <system_error>

namespace baton {

// On the wire as numbers: append only.
enum class Code : std::uint16_t {
  ok = 0,
  usage = 1,      // the request makes no sense, whatever the state of the daemon
  noDaemon = 2,   // none runs, or none could be started
  version = 3,    // the other side speaks another major version
  protocol = 4,   // bytes that are no frame of ours
  refused = 5,    // understood, but not now or not for this uid
  unknownId = 6,  // no such task or batch, or somebody else's
  quota = 7,      // a limit of this uid is reached
  tooLarge = 8,   // a frame, a context or a list beyond its limit
  tooDeep = 9,    // too many tasks wait inside each other
  timedOut = 10,
  disconnected = 11,  // the daemon ended or closed the connection
  system = 12,        // a system call failed
  unknownName = 13,   // no such queue, lock, pipe or shared memory, or not ours
  wrongKind = 14,     // the name is that of a lock of another kind
  exists = 15,        // to be made, but there already
  busy = 16,          // not to be had without waiting; a pipe that has its two ends
  deadlock = 17,      // waiting would close a circle; the text shows it
  abandoned = 18,     // its owner died, and it is refused until it is cleared
  notHeld = 19,       // released by who does not hold it
  broken = 20,        // a barrier that lost a party, or a lock that an operator took away
  full = 21,          // a queue that rejects
  closed = 22,        // a queue that was closed
  removed = 23,       // the object was removed meanwhile
  cancelled = 24,     // the request was abandoned by its client
};

const std::error_category& errorCategory();
std::error_code make_error_code(Code code);

class Error : public std::runtime_error {
 public:
  // `text` is one line for a person: what was asked, what is wrong, what to do.
  Error(Code code, const std::string& text) : std::runtime_error(text), code_(code) {}
  Code code() const { return code_; }
  std::error_code errorCode() const { return make_error_code(code_); }

 private:
  Code code_;
};

// "WHAT: strerror(errno)" with Code::system.
[[noreturn]] void throwErrno(const std::string& what);

}  // namespace baton

template <>
struct std::is_error_code_enum<baton::Code> : std::true_type {};
