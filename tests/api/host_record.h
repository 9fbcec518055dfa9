/* SPDX-License-Identifier: BSD-3-Clause */
/* host_record.h - writes down, as text, the state of a process that a library must not change. */
#ifndef HOST_RECORD_H
#define HOST_RECORD_H

enum {
  RECORD_SETTINGS = 1, /* signals, limits, names, rights: may never change */
  RECORD_HOLDINGS = 2  /* threads and descriptors: may change while something is open */
};

/* One fact a line. The caller frees it. */
char* host_record(int what);

/* Prints the lines that differ to `to` (a FILE *). Returns how many. */
int host_record_compare(const char* when, const char* before, const char* after, void* to);

#endif
