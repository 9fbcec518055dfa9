// SPDX-License-Identifier: BSD-3-Clause
// replay.cc - runs a harness over files and folders of inputs, in place of libFuzzer.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/harness.h"

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> inputs_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

void run(const fs::path& file) {
  // Said first: the harness may end the process.
  std::fprintf(stderr, "%s\n", file.filename().c_str());
  std::ifstream in(file, std::ios::binary);
  // Of exactly the input's size, so that a sanitizer sees the first byte read behind it.
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  const rp::fuzz::Bytes copy(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

}  // namespace

/// replay PATH...: fails when there is no input at all, as a test that runs nothing proves nothing.
int main(int argc, char** argv) {
  std::size_t done = 0;
  for (int i = 1; i < argc; ++i) {
    if (!fs::exists(argv[i])) continue;
    for (const fs::path& file : inputs_of(argv[i])) {
      run(file);
      ++done;
    }
  }
  std::printf("%zu inputs\n", done);
  return done == 0;
}
