// What batonctl writes: data to stdout, talk to stderr. A closed stdout ends the process by SIGPIPE, any
// other failure to write is an Error.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace baton::ctl {

// Closed standard descriptors stay closed to all who read and write, but nothing that is opened later gets
// their numbers: what is printed would go there. To be called first.
void reserveStandardDescriptors();

// Appends to stdout's buffer.
void print(std::string_view text);
// Writes out what was printed; call it before waiting for anything. Throws Error(system).
void flushOutput();

// Writes all of `bytes` to `fd` at once, unbuffered. EPIPE ends the process by SIGPIPE, also where that is
// ignored. Blocks as long as the reader does, on a non-blocking descriptor too. Throws Error(system).
void writeAll(int fd, std::string_view bytes);

// Until `fd` has input. If nobody reads stdout any more it ends the process as the next write would.
void awaitInput(int fd);

// "batonctl: TEXT" to stderr as one line by one write. TEXT is escaped here.
void complain(std::string_view text);

bool isTerminal(int fd);
// Columns of the terminal that `fd` is; nullopt: it is none.
std::optional<unsigned> terminalWidth(int fd);
// Columns that escaped text takes on a terminal: combining characters none, wide ones two.
unsigned displayWidth(std::string_view text);
// `text` cut to `columns`, with "..." at its end if it was longer.
std::string fitted(std::string_view text, unsigned columns);

}  // namespace baton::ctl
