/* SPDX-License-Identifier: BSD-3-Clause */
/* process_state.c - reads /proc/self. */
#include "process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* How many entries of `folder` are `counted`; . and .. are none. */
static long entries(const char* folder, int (*counted)(const char* entry)) {
  DIR* dir = opendir(folder);
  const struct dirent* entry;
  long n = 0;
  if (!dir) return -1;
  while ((entry = readdir(dir))) n += entry->d_name[0] != '.' && counted(entry->d_name);
  closedir(dir);
  return n;
}

static int any(const char* entry) {
  return entry != NULL;
}

/* PF_EXITING among the flags, the ninth field of proc(5)'s stat. The kernel sets it before it tells
 * who joins the thread, and unlists the thread after that. */
static int lives(const char* thread) {
  char path[64], stat[512];
  snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", thread);
  FILE* file = fopen(path, "re");
  if (!file) return 0;
  const size_t length = fread(stat, 1, sizeof stat - 1, file);
  fclose(file);
  stat[length] = 0;
  const char* field = strrchr(stat, ')'); /* the second, a name with anything in it */
  for (int i = 2; field && i < 9; ++i) field = strchr(field + 1, ' ');
  return field && !(strtoul(field, NULL, 10) & 0x4);
}

#ifndef SANITIZED
static long lines(const char* file) {
  char buffer[4096];
  long n = 0;
  ssize_t length;
  const int fd = open(file, O_RDONLY | O_CLOEXEC);
  while ((length = read(fd, buffer, sizeof buffer)) > 0) {
    for (ssize_t i = 0; i < length; ++i) n += buffer[i] == '\n';
  }
  close(fd);
  return n;
}
#endif

struct process_state process_state_now(void) {
  struct process_state s = {entries("/proc/self/fd", any), entries("/proc/self/task", lives), 0};
#ifndef SANITIZED
  s.mappings = lines("/proc/self/maps");
#endif
  return s;
}
