// SPDX-License-Identifier: BSD-3-Clause
// table.cc - measures, pads, prints.
#include "tools/table.h"

#include <algorithm>
#include <cstdio>

#include "tools/command.h"

namespace rp::tools {
namespace {

constexpr std::size_t kWidth = 100, kIndent = 6;

std::size_t length(const std::string& text) {
  return static_cast<std::size_t>(g_utf8_strlen(text.c_str(), -1));
}

}  // namespace

std::string printable(const std::string& text) {
  const GText valid(g_utf8_make_valid(text.data(), static_cast<gssize>(text.size())));
  std::string out;
  for (const char* p = valid.get(); *p; p = g_utf8_next_char(p)) {
    if (g_unichar_iscntrl(g_utf8_get_char(p)))
      out += '?';
    else
      out.append(p, static_cast<const char*>(g_utf8_next_char(p)));
  }
  return out;
}

void Table::add(std::vector<std::string> cells) {
  for (auto& c : cells) c = printable(c);
  rows_.push_back({std::move(cells), {}});
}

void Table::note(const std::vector<std::string>& words) {
  std::string line;
  for (const auto& word : words) {
    const std::string w = printable(word);
    if (!line.empty() && kIndent + length(line) + 1 + length(w) > kWidth)
      rows_.back().notes.push_back(std::move(line)), line.clear();
    line += (line.empty() ? "" : " ") + w;
  }
  if (!line.empty()) rows_.back().notes.push_back(std::move(line));
}

std::vector<std::size_t> Table::widths() const {
  std::vector<std::size_t> all;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    all.push_back(length(columns_[c].title));
    for (const Row& r : rows_) all[c] = std::max(all[c], length(r.cells[c]));
  }
  return all;
}

void Table::print() const {
  const auto width = widths();
  const auto line = [&](auto&& cell_of) {
    std::string text;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      const std::string& cell = cell_of(c);
      const std::string padding(width[c] - length(cell), ' ');
      text += columns_[c].align == Align::right ? padding + cell : cell + padding;
      text += "  ";
    }
    text.erase(text.find_last_not_of(' ') + 1);
    std::puts(text.c_str());
  };
  line([&](std::size_t c) -> const std::string& { return columns_[c].title; });
  for (const Row& r : rows_) {
    line([&](std::size_t c) -> const std::string& { return r.cells[c]; });
    for (const auto& n : r.notes) std::printf("%*s%s\n", static_cast<int>(kIndent), "", n.c_str());
  }
}

}  // namespace rp::tools
