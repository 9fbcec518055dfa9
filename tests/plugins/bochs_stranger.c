/* SPDX-License-Identifier: BSD-3-Clause */
/* bochs_stranger.c - a host that lacks what the module needs, as an unknown Bochs would: the module
 * loads, says what is missing, enters nothing, and can be unloaded.
 *
 * Usage: bochs_stranger MODULE
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef int entry_function(void* plugin, uint16_t type, uint8_t mode);

static int fails(const char* what) {
  printf("%s\n", what);
  return 1;
}

int main(int argc, char** argv) {
  char said[1000] = "";
  int ends[2];
  void* handle = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
  entry_function* entry = NULL;
  if (handle) *(void**)&entry = dlsym(handle, "libeth_ringplug_plugin_entry");
  if (!entry) return fails("the module can't be loaded");
  if (entry(NULL, 0, 2) != 0x400) return fails("PROBE does not say that it is for networks");
  if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0) return fails("pipe");
  if (entry(NULL, 0x400, 1) != 0) return fails("INIT fails, which is a panic");
  if (read(ends[0], said, sizeof said - 1) <= 0) return fails("INIT says nothing");
  if (!strstr(said, "_ZN13eth_locator_cC2EPKc") || !strstr(said, "Bochs 2.7")) return fails(said);
  if (entry(NULL, 0x400, 0) != 0) return fails("FINI fails");
  if (dlclose(handle) != 0) return fails("the module can't be unloaded");
  return 0;
}
