#include "ipc/escape.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace baton::ipc {
namespace {

struct Character {
  char32_t code = 0;
  std::size_t length = 1;
  bool valid = false;  // else it is one byte that is no UTF-8
};

// The first character of `text`, which is not empty. Overlong forms, surrogates and what is above U+10FFFF
// are invalid.
Character firstOf(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  char32_t code = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  static constexpr std::array<char32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, length, true};
}

struct CodeRange {
  char32_t first;
  char32_t last;
};

// What a terminal obeys, or what reorders or hides text.
constexpr std::array<CodeRange, 10> kHidden{
    {{0x00, 0x1f},
     {0x7f, 0x9f},
     {0x061c, 0x061c},      // Arabic letter mark
     {0x200e, 0x200f},      // left-to-right, right-to-left mark
     {0x2028, 0x202e},      // line, paragraph separator; embeddings, overrides
     {0x2060, 0x206f},      // word joiner, invisible operators, isolates
     {0xfeff, 0xfeff},      // byte order mark
     {0xfff9, 0xfffb},      // interlinear annotation
     {0xfdd0, 0xfdef},      // noncharacters
     {0xe0000, 0xe0fff}}};  // tags, more variation selectors

// Blanks that are not U+0020: harmless, but a reader cannot tell them from it.
constexpr std::array<CodeRange, 6> kBlank{
    {{0xa0, 0xa0}, {0x1680, 0x1680}, {0x2000, 0x200b}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}}};

template <std::size_t n>
bool within(char32_t code, const std::array<CodeRange, n>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [code](const CodeRange& range) { return code >= range.first && code <= range.last; });
}

bool isHidden(const Character& character) {
  return !character.valid || within(character.code, kHidden);
}

void appendHex(std::string& out, const char* prefix, char32_t value, int digits) {
  out += prefix;
  while (digits-- > 0) out += "0123456789abcdef"[value >> (4 * digits) & 0xf];
}

// A byte as \n, \t, \r or \x1b.
void appendByte(std::string& out, unsigned char byte) {
  switch (byte) {
    case '\n':
      out += "\\n";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      appendHex(out, "\\x", byte, 2);
  }
}

// $'...': hidden characters byte by byte, so that no shell's locale has a part in it.
std::string dollarQuote(std::string_view word) {
  std::string out = "$'";
  while (!word.empty()) {
    const Character character = firstOf(word);
    const std::string_view bytes = word.substr(0, character.length);
    if (isHidden(character)) {
      for (const char byte : bytes) appendByte(out, static_cast<unsigned char>(byte));
    } else {
      if (bytes == "'" || bytes == "\\") out += '\\';
      out += bytes;
    }
    word.remove_prefix(character.length);
  }
  return out + "'";
}

// Stands for itself anywhere in a word of a shell.
bool isBare(char32_t code) {
  if (code >= 0x80) return !within(code, kBlank);
  const char c = static_cast<char>(code);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
}

enum class Need { none, quotes, dollarQuotes };

Need needOf(std::string_view word) {
  // zsh looks up what follows a leading = as a command.
  Need need = word.empty() || word.front() == '=' ? Need::quotes : Need::none;
  while (!word.empty()) {
    const Character character = firstOf(word);
    if (isHidden(character)) return Need::dollarQuotes;
    if (!isBare(character.code)) need = Need::quotes;
    word.remove_prefix(character.length);
  }
  return need;
}

std::string singleQuote(std::string_view word) {
  std::string out = "'";
  for (const char c : word) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// Damerau-Levenshtein distance (neighbours swapped at most once), by bytes.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

std::string escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = firstOf(text);
    if (!character.valid || (character.code < 0x80 && isHidden(character))) {
      appendByte(out, static_cast<unsigned char>(text.front()));
    } else if (!isHidden(character)) {
      out += text.substr(0, character.length);
    } else if (character.code > 0xffff) {
      appendHex(out, "\\U", character.code, 8);
    } else {
      appendHex(out, "\\u", character.code, 4);
    }
    text.remove_prefix(character.length);
  }
  return out;
}

std::string shellQuote(std::string_view word) {
  switch (needOf(word)) {
    case Need::none:
      return std::string(word);
    case Need::quotes:
      return singleQuote(word);
    case Need::dollarQuotes:
      break;
  }
  return dollarQuote(word);
}

std::string joinArgv(std::span<const std::string> argv) {
  std::string line;
  for (const std::string& word : argv) {
    const bool first = &word == argv.data();
    if (!first) line += ' ';
    std::string quoted = shellQuote(word);
    // Bare in front it would be an assignment.
    if (first && quoted == word && word.find('=') != std::string::npos) quoted = singleQuote(word);
    line += quoted;
  }
  return line;
}

std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates) {
  // Nobody mistypes more than this; it bounds the work that a hostile word makes.
  constexpr std::size_t kLongest = 64;
  if (word.size() > kLongest) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t bestDistance = 0;
  for (const std::string_view candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    const std::size_t allowed = std::max<std::size_t>(1, std::max(word.size(), candidate.size()) / 3);
    const std::size_t found = distance(word, candidate);
    if (found > allowed || found >= std::max(word.size(), candidate.size())) continue;
    if (!best || found < bestDistance) {
      best = candidate;
      bestDistance = found;
    }
  }
  return best;
}

}  // namespace baton::ipc
