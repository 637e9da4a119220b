#include <algorithm>
#include <array>

#include "ctl/json_parts.h"
#include "ipc/error.h"

namespace baton::ctl {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64(std::string_view bytes) {
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? kLetters[group >> (18 - 6 * k) & 63U] : '=';
    }
  }
  return text;
}

std::string fromBase64(std::string_view text) {
  const auto wrong = [] { return Error(Code::usage, "bytes in JSON must be base64, with its padding"); };
  if (text.size() % 4 != 0) throw wrong();
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    std::size_t padding = 0;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const char letter = text[i + k];
      const std::size_t digit = kLetters.find(letter);
      if (letter == '=' && last && k >= 2) {
        ++padding;
      } else if (digit == kLetters.npos || padding > 0) {
        throw wrong();
      }
      group = group << 6 | static_cast<std::uint32_t>(letter == '=' ? 0 : digit);
    }
    for (std::size_t k = 0; k < 3 - padding; ++k) bytes += static_cast<char>(group >> (16 - 8 * k) & 255U);
  }
  return bytes;
}

}  // namespace baton::ctl
