/* SPDX-License-Identifier: BSD-3-Clause */
/* process_state.c - reads /proc/self. */
#include "process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static long entries(const char* folder) {
  DIR* dir = opendir(folder);
  long n = 0;
  if (!dir) return -1;
  while (readdir(dir)) ++n;
  closedir(dir);
  return n - 2; /* . and .. */
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
  struct process_state s = {entries("/proc/self/fd"), entries("/proc/self/task"), 0};
#ifndef SANITIZED
  s.mappings = lines("/proc/self/maps");
#endif
  return s;
}

struct process_state process_state_settled(struct process_state expected) {
  const struct timespec moment = {0, 2000000};
  struct process_state s = process_state_now();
  for (int i = 0; i < 100 && s.threads > expected.threads; ++i) {
    nanosleep(&moment, NULL);
    s = process_state_now();
  }
  return s;
}
