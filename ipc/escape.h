// The one place where strings from users are made harmless before they reach a terminal or a log. Pure; any
// thread.
//
// 1. Of what these functions return every byte sequence is valid UTF-8 without control characters: nothing
//    in it moves a cursor, ends a line, reorders text or hides in it.
// 2. Nothing depends on the locale.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace baton::ipc {

// `text` with what a terminal would obey or hide made visible: C0, DEL and bytes that are no UTF-8 as \n \t
// \r or \x1b; C1, line and paragraph separators, bidirectional controls and invisible format characters as
// \u202e or \U000e0041. A backslash stays as it is, so escaping twice is escaping once; it is for reading,
// not for parsing.
std::string escape(std::string_view text);

// `word` as one word of bash or zsh, bare if it can be, else in '...', else (control bytes, no UTF-8) in
// $'...'. Read back by bash in any locale it is the same bytes, except that it cannot hold a NUL.
std::string shellQuote(std::string_view word);

// The words quoted and joined by blanks: a line that a shell would run as this command.
std::string joinArgv(std::span<const std::string> argv);

// The candidate most like `word`, for "did you mean"; empty if none is near (more than a third of the
// letters differ). Two neighbours swapped count as one difference. The view is the candidate's.
std::optional<std::string_view> nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace baton::ipc
