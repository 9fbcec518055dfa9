/* SPDX-License-Identifier: BSD-3-Clause */
/* process_state.h - counts what a process holds, to find what a call left behind. */
#ifndef PROCESS_STATE_H
#define PROCESS_STATE_H

#ifdef __cplusplus
extern "C" {
#endif

struct process_state {
  long descriptors;
  long threads;
  long mappings; /* lines of /proc/self/maps; always 0 under a sanitizer, which maps on its own */
};

struct process_state process_state_now(void);

/* Waits a moment for `threads` to fall to that of `expected`: a joined thread may still be listed.
 * Then returns the state. */
struct process_state process_state_settled(struct process_state expected);

#ifdef __cplusplus
}
#endif

#endif
