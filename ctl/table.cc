#include "ctl/table.h"

#include <algorithm>

#include "ctl/output.h"

namespace baton::ctl {
namespace {

constexpr unsigned kGap = 2;
// A terminal narrower than the fixed columns still shows the beginning of the last one.
constexpr unsigned kLeastLastColumn = 10;

std::string blanks(unsigned count) {
  return std::string(count, ' ');
}

}  // namespace

Table::Table(std::vector<Column> columns, std::optional<unsigned> width)
    : columns_(std::move(columns)), width_(width) {
  for (const Column& column : columns_) widths_.push_back(displayWidth(column.title));
}

void Table::add(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], displayWidth(cells[i]));
  rows_.push_back(std::move(cells));
}

std::string Table::line(const std::vector<std::string>& cells) const {
  std::string text;
  unsigned used = 0;
  for (std::size_t i = 0; i + 1 < cells.size(); ++i) {
    const unsigned padding = widths_[i] - displayWidth(cells[i]);
    const bool right = columns_[i].align == Align::right;
    text += right ? blanks(padding) + cells[i] : cells[i] + blanks(padding);
    text += blanks(kGap);
    used += widths_[i] + kGap;
  }
  const std::string& last = cells.back();
  const unsigned room = width_ ? std::max(*width_ > used ? *width_ - used : 0, kLeastLastColumn) : 0;
  text += width_ ? fitted(last, room) : last;
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

std::string Table::take() {
  std::string text;
  if (!titled_) {
    std::vector<std::string> titles;
    for (const Column& column : columns_) titles.emplace_back(column.title);
    text += line(titles);
    titled_ = true;
  }
  for (const auto& row : rows_) text += line(row);
  rows_.clear();
  return text;
}

void Fields::add(std::string key, std::string value) {
  if (!value.empty()) fields_.emplace_back(std::move(key), std::move(value));
}

std::string Fields::text() const {
  std::size_t widest = 0;
  for (const auto& [key, value] : fields_) widest = std::max(widest, key.size());
  std::string text;
  for (const auto& [key, value] : fields_) {
    text.append(key).append(":").append(blanks(static_cast<unsigned>(widest - key.size()) + 1));
    text.append(value).append("\n");
  }
  return text;
}

}  // namespace baton::ctl
