#include "ctl/map/quote.h"

#include <algorithm>

namespace baton::ctl::map {
namespace {

bool isSafe(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || c == '/' || c == '+';
}

bool needsBackslash(char c, Quoting quoting) {
  switch (quoting) {
    case Quoting::posix:
      return false;
    case Quoting::fish:
      return c == '\\';
    case Quoting::csh:
      return c == '!' || c == '\n';
  }
  return false;
}

}  // namespace

std::string quote(std::string_view value, Quoting quoting) {
  if (value.empty()) return "''";
  if (std::all_of(value.begin(), value.end(), isSafe)) return std::string(value);
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'') {
      quoted += "'\"'\"'";
      continue;
    }
    if (needsBackslash(c, quoting)) quoted += '\\';
    quoted += c;
  }
  quoted += '\'';
  // A quotation mark at either end leaves an empty pair there, which says nothing.
  if (quoted.starts_with("''")) quoted.erase(0, 2);
  if (quoted.ends_with("''")) quoted.erase(quoted.size() - 2);
  return quoted;
}

}  // namespace baton::ctl::map
