// Rows in columns. Cells are escaped text; the last column takes the rest of the terminal's width.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace baton::ctl {

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    const char* title;
    Align align = Align::left;
  };

  // `width`: of the terminal; nullopt: nothing is cut.
  Table(std::vector<Column> columns, std::optional<unsigned> width);

  // As many cells as columns.
  void add(std::vector<std::string> cells);
  // The rows added since the last call, as lines; the titles first if it is the first call. Columns only ever
  // become wider.
  std::string take();

 private:
  std::string line(const std::vector<std::string>& cells) const;

  std::vector<Column> columns_;
  std::optional<unsigned> width_;
  std::vector<unsigned> widths_;
  std::vector<std::vector<std::string>> rows_;
  bool titled_ = false;
};

// "KEY: VALUE" lines with the values in one column, for what describes one thing.
class Fields {
 public:
  // Nothing is shown for an empty value.
  void add(std::string key, std::string value);
  std::string text() const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

}  // namespace baton::ctl
