/* SPDX-License-Identifier: BSD-3-Clause */
/* process_state.h - counts what a process holds, to find what a call left behind. */
#ifndef PROCESS_STATE_H
#define PROCESS_STATE_H

#ifdef __cplusplus
extern "C" {
#endif

struct process_state {
  long descriptors;
  long threads;  /* a thread that was joined is none, whether or not the kernel still lists it */
  long mappings; /* lines of /proc/self/maps; always 0 under a sanitizer, which maps on its own */
};

struct process_state process_state_now(void);

#ifdef __cplusplus
}
#endif

#endif
