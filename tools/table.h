// SPDX-License-Identifier: BSD-3-Clause
// table.h - aligned text: rows of cells, and notes that stand below a row.
#pragma once

#include <string>
#include <vector>

namespace rp::tools {

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::left;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns. What can't be printed becomes '?'.
  void add(std::vector<std::string> cells);
  /// Words below the last row, indented; broken between words at 100 columns.
  void note(const std::vector<std::string>& words);

  /// To stdout.
  void print() const;

 private:
  struct Row {
    std::vector<std::string> cells;
    std::vector<std::string> notes;
  };
  std::vector<std::size_t> widths() const;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

/// The text as a terminal may get it: UTF-8, control characters replaced by '?'.
std::string printable(const std::string& text);

}  // namespace rp::tools
