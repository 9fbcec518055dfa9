/* SPDX-License-Identifier: BSD-3-Clause */
/* host_record.c - the state of the process, a fact a line, from /proc and from system calls. */
#include "host_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

static void put_signals(FILE* out) {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, NULL, &mask);
  for (int s = 1; s <= SIGRTMAX; ++s) {
    struct sigaction a;
    if (sigaction(s, NULL, &a) != 0) continue;
    fprintf(out, "signal %d: handler %p flags %x blocked %d in-handler-blocked", s,
            *(void**)&a.sa_handler, (unsigned)a.sa_flags, sigismember(&mask, s));
    for (int b = 1; b <= SIGRTMAX; ++b) {
      if (sigismember(&a.sa_mask, b) == 1) fprintf(out, " %d", b);
    }
    fputc('\n', out);
  }
  stack_t alternate;
  sigaltstack(NULL, &alternate);
  fprintf(out, "alternate signal stack: %p %d\n", alternate.ss_sp, alternate.ss_flags);
}

static void put_limits(FILE* out) {
  for (int i = 0; i < (int)RLIM_NLIMITS; ++i) {
    struct rlimit l;
    if (getrlimit((__rlimit_resource_t)i, &l) != 0) continue;
    fprintf(out, "limit %d: %llu %llu\n", i, (unsigned long long)l.rlim_cur,
            (unsigned long long)l.rlim_max);
  }
  for (int i = ITIMER_REAL; i <= ITIMER_PROF; ++i) {
    struct itimerval t;
    getitimer((__itimer_which_t)i, &t);
    fprintf(out, "interval timer %d: %ld\n", i, (long)(t.it_value.tv_sec + t.it_value.tv_usec));
  }
  fprintf(out, "priority: %d scheduler: %d\n", getpriority(PRIO_PROCESS, 0), sched_getscheduler(0));
}

static void put_surroundings(FILE* out) {
  char folder[4096];
  fprintf(out, "folder: %s\n", getcwd(folder, sizeof folder));
  fprintf(out, "locale: %s\n", setlocale(LC_ALL, NULL));
  for (char** e = environ; *e; ++e) fprintf(out, "environment: %s\n", *e);
  for (int fd = 0; fd < 3; ++fd)
    fprintf(out, "standard stream %d: flags %x %x\n", fd, (unsigned)fcntl(fd, F_GETFL),
            (unsigned)fcntl(fd, F_GETFD));
}

static void put_attributes(FILE* out) {
  char name[16] = "";
  int reaper = 0, on_death = 0;
  prctl(PR_GET_NAME, name);
  prctl(PR_GET_CHILD_SUBREAPER, &reaper);
  prctl(PR_GET_PDEATHSIG, &on_death);
  fprintf(out, "name: %s reaper: %d signal on parent's death: %d dumpable: %d timer slack: %d\n",
          name, reaper, on_death, prctl(PR_GET_DUMPABLE), prctl(PR_GET_TIMERSLACK));
  const pid_t child = waitpid(-1, NULL, WNOHANG);
  fprintf(out, "children: %s\n", child < 0 && errno == ECHILD ? "none" : "some");
}

/* Rights, sandboxes and pending signals as the kernel sees them. */
static void put_status(FILE* out) {
  static const char* const wanted[] = {
      "Umask:",  "Uid:",    "Gid:",        "Groups:",  "SigPnd:",      "ShdPnd:",
      "SigBlk:", "SigIgn:", "SigCgt:",     "CapInh:",  "CapPrm:",      "CapEff:",
      "CapBnd:", "CapAmb:", "NoNewPrivs:", "Seccomp:", "CoreDumping:", "TracerPid:"};
  char line[4096];
  FILE* status = fopen("/proc/thread-self/status", "re");
  while (status && fgets(line, sizeof line, status)) {
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; ++i) {
      if (strncmp(line, wanted[i], strlen(wanted[i])) == 0) fputs(line, out);
    }
  }
  if (status) fclose(status);
}

static void put_links(FILE* out, const char* folder, const char* title) {
  DIR* dir = opendir(folder);
  const struct dirent* e;
  while (dir && (e = readdir(dir))) {
    char path[512], target[512];
    if (e->d_name[0] == '.' || atoi(e->d_name) == dirfd(dir)) continue;
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    const ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) continue;
    target[n] = 0;
    fprintf(out, "%s %s: %s\n", title, e->d_name, target);
  }
  if (dir) closedir(dir);
}

static void put_threads(FILE* out) {
  DIR* dir = opendir("/proc/self/task");
  const struct dirent* e;
  while (dir && (e = readdir(dir))) {
    if (e->d_name[0] != '.') fprintf(out, "thread %s\n", e->d_name);
  }
  if (dir) closedir(dir);
}

char* host_record(int what) {
  char* text = NULL;
  size_t size = 0;
  FILE* out = open_memstream(&text, &size);
  if (what & RECORD_SETTINGS) {
    put_signals(out);
    put_limits(out);
    put_surroundings(out);
    put_attributes(out);
    put_status(out);
    put_links(out, "/proc/self/ns", "namespace");
  }
  if (what & RECORD_HOLDINGS) {
    put_links(out, "/proc/self/fd", "descriptor");
    put_threads(out);
  }
  fclose(out);
  return text;
}

static int has_line(const char* text, const char* line, size_t length) {
  for (const char* at = text; (at = strstr(at, line)) != NULL; at += length) {
    if (at == text || at[-1] == '\n') return 1;
  }
  return 0;
}

/* Prints the lines of `text` that `other` lacks. */
static int print_missing(const char* sign, const char* when, const char* text, const char* other,
                         FILE* to) {
  int missing = 0;
  for (const char* end; *text; text = end + 1) {
    char line[8192];
    end = strchr(text, '\n');
    snprintf(line, sizeof line, "%.*s\n", (int)(end - text), text);
    if (has_line(other, line, strlen(line))) continue;
    fprintf(to, "%s: %s%s", when, sign, line);
    ++missing;
  }
  return missing;
}

int host_record_compare(const char* when, const char* before, const char* after, void* to) {
  return print_missing("-", when, before, after, to) + print_missing("+", when, after, before, to);
}
