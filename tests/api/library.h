/* SPDX-License-Identifier: BSD-3-Clause */
/* library.h - libringplug as a host that loads it at run time sees it. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "ringplug.h"

struct library {
  void* handle;
  __typeof__(rp_plug_open)* plug_open;
  __typeof__(rp_plug_close)* plug_close;
  __typeof__(rp_plug_fd)* plug_fd;
  __typeof__(rp_plug_send)* plug_send;
  __typeof__(rp_plug_recv)* plug_recv;
  __typeof__(rp_plug_join)* plug_join;
  __typeof__(rp_switch_new)* switch_new;
  __typeof__(rp_switch_free)* switch_free;
  __typeof__(rp_switch_add)* switch_add;
  __typeof__(rp_switch_fd)* switch_fd;
  __typeof__(rp_switch_dispatch)* switch_dispatch;
};

/* ISO C has no cast from an object's address to a function's. */
static inline void library_find(struct library* l, const char* name, void* function) {
  *(void**)function = dlsym(l->handle, name);
  if (*(void**)function) return;
  fprintf(stderr, "%s\n", dlerror());
  exit(1);
}

static inline struct library library_open(const char* path, int flags) {
  struct library l = {.handle = dlopen(path, flags)};
  if (!l.handle) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  library_find(&l, "rp_plug_open", &l.plug_open);
  library_find(&l, "rp_plug_close", &l.plug_close);
  library_find(&l, "rp_plug_fd", &l.plug_fd);
  library_find(&l, "rp_plug_send", &l.plug_send);
  library_find(&l, "rp_plug_recv", &l.plug_recv);
  library_find(&l, "rp_plug_join", &l.plug_join);
  library_find(&l, "rp_switch_new", &l.switch_new);
  library_find(&l, "rp_switch_free", &l.switch_free);
  library_find(&l, "rp_switch_add", &l.switch_add);
  library_find(&l, "rp_switch_fd", &l.switch_fd);
  library_find(&l, "rp_switch_dispatch", &l.switch_dispatch);
  return l;
}

#endif
