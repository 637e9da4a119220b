// What the functions that make JSON share. Includes nlohmann-json: for their .cc files only.
#pragma once

#include <capnp/blob.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace baton::ctl {

using Json = nlohmann::ordered_json;

// One line. All but ASCII is escaped: a terminal would obey some of it.
inline std::string dump(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

inline Json seconds(std::uint64_t ns) {
  constexpr double kNs = 1e9;
  return static_cast<double>(ns) / kNs;
}

// For values where 0 means "none".
inline Json orNull(std::uint64_t number) {
  return number == 0 ? Json() : Json(number);
}
inline Json secondsOrNull(std::uint64_t ns) {
  return ns == 0 ? Json() : seconds(ns);
}
inline Json textOrNull(std::string_view text) {
  return text.empty() ? Json() : Json(text);
}

inline std::string_view view(capnp::Data::Reader bytes) {
  return {bytes.asChars().begin(), bytes.size()};
}
inline std::string_view view(capnp::Text::Reader text) {
  return {text.begin(), text.size()};
}

std::string base64(std::string_view bytes);
// Throws Error(usage).
std::string fromBase64(std::string_view text);

}  // namespace baton::ctl
