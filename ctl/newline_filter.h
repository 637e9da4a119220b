// Undoes one pseudo-terminal's newline translation where the next terminal translates again: a task's "\n"
// comes from its pseudo-terminal as "\r\n", and a terminal that is not raw makes "\r\r\n" of that. Pure.
#pragma once

#include <string>
#include <string_view>

namespace baton::ctl {

class NewlineFilter {
 public:
  // Appends `bytes` to `out` with each "\r\n" as "\n". A "\r" at the end is held until what follows is known.
  void pass(std::string_view bytes, std::string& out);
  // Appends what is held; call it when no more comes, or before bytes go out unfiltered.
  void finish(std::string& out);

 private:
  bool held_ = false;
};

}  // namespace baton::ctl
