/* SPDX-License-Identifier: BSD-3-Clause */
/* vdeplug_test.c - the module inside libvdeplug: its contract, its errors, and what it leaves
 * behind.
 *
 * Usage: VDEPLUGIN_PATH=FOLDER vdeplug_test [ROUNDS]
 */
#include <errno.h>
#include <libvdeplug.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process_state.h"

enum { WARM_UP = 2, FRAME = 60 };

static void fail(const char* what) {
  fprintf(stderr, "%s (%s)\n", what, strerror(errno));
  exit(1);
}

static void round_trip(void) {
  VDECONN* conn = vde_open("ringplug://slirp", "vdeplug_test", NULL);
  if (!conn) fail("vde_open(ringplug://slirp)");
  if (vde_close(conn) != 0) fail("vde_close");
}

/* An ARP request for the gateway: the shortest question that slirp answers. */
static void write_question(unsigned char frame[FRAME]) {
  static const unsigned char arp[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
                                      0x56, 0x08, 0x06, 0,    1,    8,    0,    6,    4, 0,    1,
                                      0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   0,    2, 15,   0,
                                      0,    0,    0,    0,    0,    10,   0,    2,    2};
  memset(frame, 0, FRAME);
  memcpy(frame, arp, sizeof arp);
}

static int readable(VDECONN* conn, int patience_ms) {
  struct pollfd p = {vde_datafd(conn), POLLIN, 0};
  return poll(&p, 1, patience_ms) == 1;
}

/* No value for "no frame" suits all callers, so the descriptor must not promise one falsely. */
static void check_contract(void) {
  unsigned char frame[2048];
  VDECONN* conn = vde_open("ringplug://slirp?ipv6=off", "vdeplug_test", NULL);
  if (!conn) fail("vde_open");
  if (vde_ctlfd(conn) != -1) fail("there is a control descriptor");
  if (readable(conn, 20)) fail("readable though no frame waits");
  write_question(frame);
  if (vde_send(conn, frame, FRAME, 0) != FRAME) fail("send does not return the length");
  if (vde_send(conn, frame, 0, 0) != -1) fail("send of nothing does not return -1");
  if (!readable(conn, 2000)) fail("no answer");
  if (vde_recv(conn, frame, sizeof frame, 0) < 42) fail("the answer is too short");
  if (readable(conn, 20)) fail("still readable after the only frame");
  if (vde_recv(conn, frame, sizeof frame, 0) != 1) fail("\"no frame\" is not libvdeplug's 1");
  vde_close(conn);
}

static void check_refusal(const char* url, struct vde_open_args* args, int wanted) {
  errno = 0;
  if (vde_open((char*)url, "vdeplug_test", args)) fail(url);
  if (errno != wanted) fail(url);
}

static void check_refusals(void) {
  struct vde_open_args stray = {.port = 7, .mode = 0700};
  struct vde_open_args group = {.group = "users", .mode = 0700};
  check_refusal("ringplug://slirp", &stray, EINVAL);
  check_refusal("ringplug://slirp", &group, EINVAL);
  check_refusal("ringplug://nosuch", NULL, EINVAL);
  check_refusal("ringplug://slirp?tftp=/nonexistent", NULL, ENOENT);
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 200;
  check_contract();
  check_refusals();
  for (int i = 0; i < WARM_UP; ++i) round_trip();
  const struct process_state before = process_state_now();
  for (int i = 0; i < rounds; ++i) round_trip();
  const struct process_state after = process_state_now();

  printf("%d rounds: descriptors %ld -> %ld, threads %ld -> %ld, mappings %ld -> %ld\n", rounds,
         before.descriptors, after.descriptors, before.threads, after.threads, before.mappings,
         after.mappings);
  return before.descriptors != after.descriptors || before.threads != after.threads ||
         before.mappings != after.mappings;
}
