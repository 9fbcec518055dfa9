// SPDX-License-Identifier: BSD-3-Clause
// folder_names.cc - readdir() with its errors.
#include "base/folder_names.h"

#include <dirent.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace rp {

std::vector<std::string> names_in(const std::string& folder) {
  struct Close {
    void operator()(DIR* d) const noexcept { closedir(d); }
  };
  const std::unique_ptr<DIR, Close> dir(opendir(folder.c_str()));
  if (!dir) throw_errno(folder, errno);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (!entry) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw_errno(folder, errno);
  return names;
}

}  // namespace rp
