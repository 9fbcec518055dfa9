/* SPDX-License-Identifier: BSD-3-Clause */
/* switch.c - a switch on the program's own loop, two plugs on it, one frame across without a copy
 * of ours: it is written in the sender's ring and read in the receiver's.
 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "ringplug.h"

enum { LENGTH = 60, PATIENCE_MS = 1000 };

static const char greeting[] = "hello from the other port";

/* Builds the frame in place. A broadcast reaches every other port. */
static int send_in_place(rp_plug* plug) {
  unsigned char* frame = rp_plug_reserve(plug, LENGTH);
  if (!frame) return RP_ERESOURCES;
  memset(frame, 0, LENGTH);
  memset(frame, 0xff, 6);
  memcpy(frame + 6, "\x52\x54\x00\x00\x00\x01", 6);
  memcpy(frame + 12, "\x88\xb5", 2); /* an EtherType for experiments, IEEE 802 */
  memcpy(frame + 14, greeting, sizeof greeting);
  int result = rp_plug_commit(plug, LENGTH, NULL);
  rp_plug_kick(plug);
  return result;
}

/* Runs the switch until the plug has a frame. This is what a program's main loop would do. */
static int run_until_readable(rp_switch* sw, rp_plug* plug) {
  struct pollfd fds[] = {{rp_switch_fd(sw), POLLIN, 0}, {rp_plug_fd(plug), POLLIN, 0}};
  while (poll(fds, 2, PATIENCE_MS) > 0) {
    if (fds[1].revents) return 1;
    rp_switch_dispatch(sw);
  }
  return 0;
}

/* Looks at the frame where it lies, then gives the place back. */
static int read_in_place(rp_plug* plug) {
  rp_frame frame;
  if (rp_plug_peek(plug, &frame, 1) != 1) return 0;
  const char* text = (const char*)frame.data + 14;
  int same = frame.length == LENGTH && memcmp(text, greeting, sizeof greeting) == 0;
  if (same) printf("%s\n", text);
  return rp_plug_release(plug, 1) == RP_OK && same;
}

static int exchange(rp_switch* sw, rp_error* err) {
  rp_plug *left = NULL, *right = NULL;
  int done = rp_plug_join(sw, NULL, &left, err) == RP_OK &&
             rp_plug_join(sw, NULL, &right, err) == RP_OK && send_in_place(left) == RP_OK &&
             run_until_readable(sw, right) && read_in_place(right);
  rp_plug_close(left);
  rp_plug_close(right);
  return done;
}

int main(void) {
  rp_error err = RP_ERROR_INIT;
  rp_switch_options options = RP_SWITCH_OPTIONS_INIT;
  options.host_loop = 1;
  rp_switch* sw;
  if (rp_switch_new(&options, &sw, &err) != RP_OK) {
    fprintf(stderr, "switch: %s\n", err.message);
    return 2;
  }
  int done = exchange(sw, &err);
  rp_switch_free(sw);
  if (!done) fprintf(stderr, "switch: the frame did not arrive %s\n", err.message);
  return done ? 0 : 1;
}
