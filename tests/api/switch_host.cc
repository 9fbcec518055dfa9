// SPDX-License-Identifier: BSD-3-Clause
// switch_host.cc - a process with a switch that others join: "ready" on stdout, ends with stdin.
//
// Usage: switch_host NAME
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "ringplug.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  rp_error err = RP_ERROR_INIT;
  rp_switch* sw = nullptr;
  const std::string door = "switch:" + std::string(argv[1]);
  if (rp_switch_new(nullptr, &sw, &err) != 0 ||
      rp_switch_listen(sw, door.c_str(), nullptr, &err) != 0) {
    std::fprintf(stderr, "switch_host: %s\n", err.message);
    return 1;
  }
  if (write(STDOUT_FILENO, "ready\n", 6) != 6) return 1;
  char c;
  while (read(STDIN_FILENO, &c, 1) > 0) {
  }
  rp_switch_free(sw);
  return 0;
}
