/* SPDX-License-Identifier: BSD-3-Clause */
/* dlopen_test.c - loads, uses and unloads the library again and again; nothing may stay behind.
 *
 * Usage: dlopen_test LIBRINGPLUG [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "library.h"
#include "process_state.h"

/* The first rounds load what stays for good: GLib is never unloaded, glibc keeps a thread's stack
 * and a memory arena for the next one. */
enum { WARM_UP = 2 };

static void round_trip(const char* path) {
  struct library l = library_open(path, RTLD_LOCAL | RTLD_NOW | RTLD_DEEPBIND);
  rp_error err = RP_ERROR_INIT;
  rp_plug* plug = NULL;
  if (l.plug_open("slirp", NULL, &plug, &err) != RP_OK) {
    fprintf(stderr, "rp_plug_open: %s\n", err.message);
    exit(1);
  }
  l.plug_close(plug);
  if (dlclose(l.handle) != 0) {
    fprintf(stderr, "dlclose: %s\n", dlerror());
    exit(1);
  }
  /* A unique symbol or a flag could pin the library, and the rounds would show nothing. */
  if (dlopen(path, RTLD_LAZY | RTLD_NOLOAD)) {
    fprintf(stderr, "the library is still loaded after dlclose\n");
    exit(1);
  }
}

int main(int argc, char** argv) {
  const int rounds = argc > 2 ? atoi(argv[2]) : 1000;
  if (argc < 2) return 2;
  for (int i = 0; i < WARM_UP; ++i) round_trip(argv[1]);
  const struct process_state before = process_state_now();
  for (int i = 0; i < rounds; ++i) round_trip(argv[1]);
  const struct process_state after = process_state_now();

  printf("%d rounds: descriptors %ld -> %ld, threads %ld -> %ld, mappings %ld -> %ld\n", rounds,
         before.descriptors, after.descriptors, before.threads, after.threads, before.mappings,
         after.mappings);
  return before.descriptors != after.descriptors || before.threads != after.threads ||
         before.mappings != after.mappings;
}
