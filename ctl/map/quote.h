// Values made safe to stand in a shell line.
#pragma once

#include <string>
#include <string_view>

namespace baton::ctl::map {

enum class Quoting {
  posix,  // sh, dash, bash, ksh, zsh: the same text as GNU parallel's
  fish,   // backslash is special between single quotes
  csh,    // newline and ! are special between single quotes
};

// One word of the shell that has exactly the bytes of `value`. `value` has no NUL.
std::string quote(std::string_view value, Quoting quoting = Quoting::posix);

}  // namespace baton::ctl::map
