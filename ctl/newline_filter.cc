#include "ctl/newline_filter.h"

namespace baton::ctl {

void NewlineFilter::pass(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    if (held_ && byte != '\n') out.push_back('\r');
    held_ = byte == '\r';
    if (!held_) out.push_back(byte);
  }
}

void NewlineFilter::finish(std::string& out) {
  if (held_) out.push_back('\r');
  held_ = false;
}

}  // namespace baton::ctl
