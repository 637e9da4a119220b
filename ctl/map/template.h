// The command of `map` with its replacement strings.
//
//   {} {.} {/} {//} {/.}      all arguments, joined by blanks: whole, without extension, base name,
//   directory,
//                             base name without extension
//   {N} {N.} {N/} {N//} {N/.} the same of the N-th argument; -1 is the last; nothing if there is none
//   {#} {%}                   the job's sequence number, the job's slot, both from 1
//
// Values are put in quoted, but for a command whose first word has a replacement string ({} …): there the
// values are shell code themselves. A command with no replacement string gets " {}" appended; none at all is
// "{}".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "ctl/map/quote.h"

namespace baton::ctl::map {

// One per source of the input, in its order.
using Arguments = std::vector<std::string>;

// Immutable once made; any thread.
class Template {
 public:
  explicit Template(const std::vector<std::string>& words, Quoting quoting = Quoting::posix);

  // The shell line of a job. `sequence` counts from 1; `slot` is the lowest number from 1 that no running job
  // has, and may be 0 if usesSlot() is false.
  std::string render(const Arguments& arguments, std::uint64_t sequence, std::uint64_t slot) const;
  // {%} stands in it, so it cannot be rendered before the job starts.
  bool usesSlot() const { return usesSlot_; }

 private:
  enum class Form { whole, noExtension, base, directory, baseNoExtension };
  struct Piece {
    enum class Kind { text, argument, arguments, sequence, slot };
    Kind kind = Kind::text;
    Form form = Form::whole;
    long position = 0;  // of Kind::argument; negative counts from the end
    std::string text;
  };

  void parse(const std::string& command);
  // Length of the replacement string at `at`, 0 if there is none; fills `piece`.
  static std::size_t match(const std::string& command, std::size_t at, Piece& piece);
  static std::string shape(const std::string& value, Form form);
  void append(std::string& line, const std::string& value, Form form) const;
  void appendArgument(std::string& line, const Piece& piece, const Arguments& arguments) const;
  void appendArguments(std::string& line, const Piece& piece, const Arguments& arguments) const;

  std::vector<Piece> pieces_;
  Quoting quoting_;
  bool quoted_ = true;
  bool usesSlot_ = false;
};

// What `--tag` prefixes the job's lines with: the arguments as they are, joined by blanks, without the TAB.
std::string tagOf(const Arguments& arguments);

}  // namespace baton::ctl::map
