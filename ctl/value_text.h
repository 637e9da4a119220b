// Values as the shell has them: plain text, and JSON.
//
// In JSON null, bool, numbers, texts, lists and maps are what they are called there. What JSON lacks is an
// object of one key that begins with $:
//   {"$data": BASE64}   {"$float": "nan" | "inf" | "-inf"}   {"$opaque": {"codec": TEXT, "data": BASE64}}
//   {"$tensor": {"dtype": "f4", "shape": [2, 3], "data": BASE64}}, or "shm": NAME instead of "data"
//   {"$map": {...}}     a map that would itself look like one of these
//   {"$bytes": BASE64}  a message that is no value at all (printed only)
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ipc/value.h"

namespace baton::ctl {

// One line of ASCII.
std::string jsonOf(const Value& value);
// Throws Error(usage) that says where the text is no JSON, or no value.
Value valueOfJson(std::string_view text);

// A word or line: text, or data if it is no UTF-8.
Value valueOfText(std::string_view text);

// What `queue get` prints: texts and data as they are, all else as JSON.
std::string plainOf(const Value& value);

// A message's bytes: the value they are, if they are one.
struct MessageValue {
  explicit MessageValue(std::span<const std::byte> bytes);
  std::string plain() const;  // bytes that are no value as they are
  std::string json() const;

  bool isValue = false;
  Value value;
  std::span<const std::byte> bytes;
};

}  // namespace baton::ctl
