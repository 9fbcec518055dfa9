/* SPDX-License-Identifier: BSD-3-Clause */
/* probe_host.c - a host program that notices everything a library in its process does to it.
 *
 * It loads the library, opens slirp, takes an address, connects to a server that closes at
 * once and goes on sending, which makes libslirp write into a broken pipe (SIGPIPE, T-NAT-13).
 * Then it closes and unloads. Settings must be the same at all times, threads and descriptors
 * before and after; in between each thread of the library blocks all signals and is called rp-*,
 * and each descriptor is close-on-exec.
 *
 * Usage: probe_host LIBRINGPLUG thread|loop
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host_record.h"
#include "library.h"
#include "mini_guest.h"

enum { PATIENCE_MS = 3000, PAUSE_MS = 20, GUEST_PORT = 40000, FIRST_SEQ = 1000, SEGMENT = 100 };

static struct library lib;
static rp_switch* host_switch; /* NULL: the switch has a thread of its own */
static rp_plug* plug;
static FILE* report; /* the stdout we were started with */
static int failures;

static void fail(const char* what) {
  fprintf(report, "%s\n", what);
  ++failures;
}

static void give_up(const char* what) {
  fail(what);
  exit(1);
}

static void on_log(void* opaque, int level, const char* sentence) {
  (void)opaque;
  fprintf(report, "log %d: %s\n", level, sentence);
}

/* ---- Standard streams: what is written there is kept, and must be nothing ---- */

static void keep_streams(void) {
  report = fdopen(fcntl(1, F_DUPFD_CLOEXEC, 10), "w");
  const int sink = memfd_create("streams", MFD_CLOEXEC);
  dup2(sink, 1);
  dup2(sink, 2);
  close(sink);
}

static void check_streams(void) {
  char text[1024];
  fflush(NULL);
  const ssize_t n = pread(1, text, sizeof text - 1, 0);
  if (n <= 0) return;
  text[n] = 0;
  fprintf(report, "written to stdout or stderr: %s\n", text);
  ++failures;
}

/* ---- The guest ---- */

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void send_frame(const uint8_t* frame, size_t length) {
  if (lib.plug_send(plug, frame, length) != (ssize_t)length) give_up("rp_plug_send failed");
}

/* Runs the host's loop for a while, or until a frame waits: 1. */
static int run(int ms) {
  const long until = now_ms() + ms;
  struct pollfd fds[2] = {{lib.plug_fd(plug), POLLIN, 0}, {-1, POLLIN, 0}};
  if (host_switch) fds[1].fd = lib.switch_fd(host_switch);
  for (long left = ms; left > 0; left = until - now_ms()) {
    if (poll(fds, 2, (int)left) <= 0) continue;
    if (fds[0].revents) return 1;
    lib.switch_dispatch(host_switch);
  }
  return 0;
}

static size_t next_frame(uint8_t* frame) {
  if (!run(PATIENCE_MS)) give_up("no answer to the guest");
  return (size_t)lib.plug_recv(plug, frame, GUEST_FRAME);
}

static void take_address(void) {
  uint8_t frame[GUEST_FRAME];
  send_frame(frame, guest_dhcp_discover(frame));
  while (!guest_is_dhcp_offer(frame, next_frame(frame))) {
  }
  send_frame(frame, guest_arp_request(frame));
  while (!guest_is_arp_reply(frame, next_frame(frame))) {
  }
}

static int listen_on_loopback(unsigned* port) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t length = sizeof a;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, (struct sockaddr*)&a, sizeof a) != 0 || listen(fd, 1) != 0 ||
      getsockname(fd, (struct sockaddr*)&a, &length) != 0)
    give_up("no server on loopback");
  *port = ntohs(a.sin_port);
  return fd;
}

static void accept_and_close(int listener) {
  const int fd = accept(listener, NULL, NULL);
  if (fd < 0) give_up("the guest's connection did not arrive");
  close(fd);
}

static uint32_t connect_to(unsigned port) {
  uint8_t frame[GUEST_FRAME];
  struct guest_segment s;
  send_frame(frame, guest_tcp(frame, GUEST_PORT, port, FIRST_SEQ, 0, GUEST_SYN, 0));
  while (!guest_is_tcp(frame, next_frame(frame), &s)) {
  }
  if (s.flags != (GUEST_SYN | GUEST_ACK)) give_up("the guest's connection was refused");
  send_frame(frame, guest_tcp(frame, GUEST_PORT, port, FIRST_SEQ + 1, s.seq + 1, GUEST_ACK, 0));
  return s.seq + 1;
}

/* The server's FIN, then its RST in answer to data, leave a socket whose next send is a broken
 * pipe. Segments go in pairs, so that the second is sent before libslirp has looked at the socket.
 */
static void write_into_a_dead_connection(void) {
  uint8_t frame[GUEST_FRAME];
  unsigned port;
  const int listener = listen_on_loopback(&port);
  const uint32_t ack = connect_to(port);
  accept_and_close(listener);
  for (uint32_t i = 0; i < 8; ++i) {
    const uint32_t seq = FIRST_SEQ + 1 + i * SEGMENT;
    send_frame(frame, guest_tcp(frame, GUEST_PORT, port, seq, ack, GUEST_ACK | GUEST_PSH, SEGMENT));
    while (i % 2 != 0 && run(PAUSE_MS)) lib.plug_recv(plug, frame, sizeof frame);
  }
  close(listener);
}

/* ---- What the library holds while it is open ---- */

static void read_thread_file(const char* thread, const char* file, char* text, size_t size) {
  char path[300];
  snprintf(path, sizeof path, "/proc/self/task/%s/%s", thread, file);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
  text[n > 0 ? n : 0] = 0;
  if (fd >= 0) close(fd);
}

static void check_thread(const char* thread) {
  char name[64], status[4096];
  read_thread_file(thread, "comm", name, sizeof name);
  read_thread_file(thread, "status", status, sizeof status);
  if (strncmp(name, "rp-", 3) != 0) fail("a thread of the library is not called rp-*");
  const char* line = strstr(status, "SigBlk:");
  const unsigned long long blocked = line ? strtoull(line + 7, NULL, 16) : 0;
  /* SIGBUS is left to the host's handler, SIGKILL and SIGSTOP can't be blocked, and glibc keeps two for itself. */
  const unsigned long long wanted = ~(1ull << 6 | 1ull << 8 | 1ull << 18 | 1ull << 31 | 1ull << 32);
  if ((blocked & wanted) != wanted) fail("a thread of the library does not block all signals");
}

static void check_threads(void) {
  DIR* dir = opendir("/proc/self/task");
  const struct dirent* e;
  int others = 0;
  while ((e = readdir(dir))) {
    if (!isdigit((unsigned char)e->d_name[0]) || atoi(e->d_name) == getpid()) continue;
    check_thread(e->d_name);
    ++others;
  }
  closedir(dir);
  if (others != (host_switch ? 0 : 1)) fail("not the one thread of one switch");
}

static void check_descriptors(void) {
  DIR* dir = opendir("/proc/self/fd");
  const struct dirent* e;
  while ((e = readdir(dir))) {
    const int fd = atoi(e->d_name);
    if (fd > 2 && fd != dirfd(dir) && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
      fail("a descriptor is not close-on-exec");
  }
  closedir(dir);
}

/* ---- The course of things ---- */

static void open_all(int own_loop) {
  rp_error err = RP_ERROR_INIT;
  rp_plug_options of_plug = RP_PLUG_OPTIONS_INIT;
  rp_switch_options of_switch = RP_SWITCH_OPTIONS_INIT;
  int code;
  of_plug.log = of_switch.log = on_log;
  of_switch.host_loop = 1;
  if (own_loop) {
    code = lib.switch_new(&of_switch, &host_switch, &err);
    if (code == RP_OK) code = lib.switch_add(host_switch, "slirp", NULL, &err);
    if (code == RP_OK) code = lib.plug_join(host_switch, &of_plug, &plug, &err);
  } else {
    code = lib.plug_open("slirp", &of_plug, &plug, &err);
  }
  if (code != RP_OK) give_up(err.message);
}

static void close_all(void) {
  lib.plug_close(plug);
  if (host_switch) lib.switch_free(host_switch);
}

/* What was open before us (a test runner's, say) is not ours to judge. */
static void close_inherited(void) {
  for (int fd = 3; fd < 256; ++fd) close(fd);
}

static void* do_nothing(void* unused) {
  return unused;
}

/* glibc takes a signal for itself when a process starts its first thread, whoever does. */
static void start_first_thread(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, do_nothing, NULL) == 0) pthread_join(thread, NULL);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  close_inherited();
  start_first_thread();
  keep_streams();
  free(host_record(RECORD_SETTINGS)); /* what it loads itself is there now */
  char* settings = host_record(RECORD_SETTINGS);
  char* holdings = host_record(RECORD_HOLDINGS);

  lib = library_open(argv[1], RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
  open_all(strcmp(argv[2], "loop") == 0);
  take_address();
  write_into_a_dead_connection();
  check_threads();
  check_descriptors();
  char* during = host_record(RECORD_SETTINGS);
  close_all();
  dlclose(lib.handle);

  char* settings_after = host_record(RECORD_SETTINGS);
  char* holdings_after = host_record(RECORD_HOLDINGS);
  failures += host_record_compare("while open", settings, during, report);
  failures += host_record_compare("after", settings, settings_after, report);
  failures += host_record_compare("after", holdings, holdings_after, report);
  check_streams();
  free(settings), free(holdings), free(during), free(settings_after), free(holdings_after);
  fprintf(report, "%s: %d differences\n", argv[2], failures);
  return failures != 0;
}
