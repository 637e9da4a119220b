#include "ctl/map/template.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace baton::ctl::map {
namespace {

std::string join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (&word != words.data()) joined += ' ';
    joined += word;
  }
  return joined;
}

std::string baseName(const std::string& value) {
  return value.substr(value.rfind('/') + 1);
}

std::string withoutExtension(const std::string& value) {
  const auto dot = value.find_last_of("./");
  return dot != value.npos && value[dot] == '.' ? value.substr(0, dot) : value;
}

// As dirname of Perl's File::Basename: one trailing slash hides the last component ("a/" is in ".").
std::string directoryOf(const std::string& value) {
  const auto slash = value.rfind('/');
  if (slash == value.npos) return ".";
  const auto stripSlashes = [](std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
  };
  std::string directory = stripSlashes(value.substr(0, slash + 1));
  if (slash + 1 < value.size()) return directory;
  const auto upper = directory.rfind('/');
  return upper == directory.npos ? "." : stripSlashes(directory.substr(0, upper + 1));
}

}  // namespace

Template::Template(const std::vector<std::string>& words, Quoting quoting) : quoting_(quoting) {
  parse(words.empty() ? "{}" : join(words));
}

void Template::parse(const std::string& command) {
  const auto firstWordEnd = std::min(command.find_first_of(" \t\n"), command.size());
  std::string text;
  bool replaces = false;
  const auto flushText = [&] {
    if (!text.empty()) pieces_.push_back({Piece::Kind::text, Form::whole, 0, std::move(text)});
    text.clear();
  };
  for (std::size_t at = 0; at < command.size();) {
    Piece piece;
    const std::size_t length = match(command, at, piece);
    if (length == 0) {
      text += command[at++];
      continue;
    }
    flushText();
    if (at < firstWordEnd) quoted_ = false;
    replaces = true;
    usesSlot_ |= piece.kind == Piece::Kind::slot;
    pieces_.push_back(piece);
    at += length;
  }
  if (!replaces) text += ' ';
  flushText();
  if (!replaces) pieces_.push_back({Piece::Kind::arguments, Form::whole, 0, ""});
}

std::size_t Template::match(const std::string& command, std::size_t at, Piece& piece) {
  if (command[at] != '{') return 0;
  const auto close = command.find('}', at);
  if (close == command.npos) return 0;
  const std::string_view inside = std::string_view(command).substr(at + 1, close - at - 1);
  const std::size_t length = close - at + 1;
  if (inside == "#" || inside == "%") {
    piece.kind = inside == "#" ? Piece::Kind::sequence : Piece::Kind::slot;
    return length;
  }
  const char* const last = inside.data() + inside.size();
  const auto [rest, error] = std::from_chars(inside.data(), last, piece.position);
  piece.kind = error == std::errc{} ? Piece::Kind::argument : Piece::Kind::arguments;
  if (error == std::errc::result_out_of_range) return 0;
  const std::string_view form(rest, static_cast<std::size_t>(last - rest));
  if (form == ".") {
    piece.form = Form::noExtension;
  } else if (form == "/") {
    piece.form = Form::base;
  } else if (form == "//") {
    piece.form = Form::directory;
  } else if (form == "/.") {
    piece.form = Form::baseNoExtension;
  } else if (!form.empty()) {
    return 0;
  }
  // {0} is another spelling of {}.
  if (piece.kind == Piece::Kind::argument && piece.position == 0) piece.kind = Piece::Kind::arguments;
  return length;
}

std::string Template::shape(const std::string& value, Form form) {
  switch (form) {
    case Form::whole:
      return value;
    case Form::noExtension:
      return withoutExtension(value);
    case Form::base:
      return baseName(value);
    case Form::directory:
      return directoryOf(value);
    case Form::baseNoExtension:
      return withoutExtension(baseName(value));
  }
  return value;
}

void Template::append(std::string& line, const std::string& value, Form form) const {
  const std::string shaped = shape(value, form);
  line += quoted_ ? quote(shaped, quoting_) : shaped;
}

void Template::appendArgument(std::string& line, const Piece& piece, const Arguments& arguments) const {
  const long count = static_cast<long>(arguments.size());
  const long index = piece.position > 0 ? piece.position - 1 : count + piece.position;
  if (index < 0 || index >= count) return;
  append(line, arguments[static_cast<std::size_t>(index)], piece.form);
}

void Template::appendArguments(std::string& line, const Piece& piece, const Arguments& arguments) const {
  for (const std::string& argument : arguments) {
    if (&argument != arguments.data()) line += ' ';
    append(line, argument, piece.form);
  }
}

std::string Template::render(const Arguments& arguments, std::uint64_t sequence, std::uint64_t slot) const {
  std::string line;
  for (const Piece& piece : pieces_) {
    switch (piece.kind) {
      case Piece::Kind::text:
        line += piece.text;
        break;
      case Piece::Kind::argument:
        appendArgument(line, piece, arguments);
        break;
      case Piece::Kind::arguments:
        appendArguments(line, piece, arguments);
        break;
      case Piece::Kind::sequence:
        line += std::to_string(sequence);
        break;
      case Piece::Kind::slot:
        line += std::to_string(slot);
        break;
    }
  }
  return line;
}

std::string tagOf(const Arguments& arguments) {
  return join(arguments);
}

}  // namespace baton::ctl::map
