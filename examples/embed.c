/* SPDX-License-Identifier: BSD-3-Clause */
/* embed.c - the smallest embedder: opens a plug, asks DHCP for an address, prints what is offered.
 *
 * Usage: embed [LOCATOR]      the locator is "slirp" when none is given
 */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "ringplug.h"

/* Offsets into a frame that carries DHCP: Ethernet 14, IPv4 20, UDP 8, then BOOTP. */
enum { IP = 14, UDP = 34, BOOTP = 42, OPTIONS = BOOTP + 236, DISCOVER_LENGTH = OPTIONS + 8 };
enum { SERVER_PORT = 67, CLIENT_PORT = 68, PATIENCE_MS = 3000 };

static const uint8_t our_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t our_xid[4] = {0x72, 0x69, 0x6e, 0x67};

static void put16(uint8_t* at, unsigned value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t* at) {
  return (unsigned)at[0] << 8 | at[1];
}

/* The Internet checksum (RFC 1071) of an IPv4 header. */
static unsigned header_checksum(const uint8_t* header) {
  unsigned long sum = 0;
  for (int i = 0; i < 20; i += 2) sum += get16(header + i);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

static void write_discover(uint8_t frame[DISCOVER_LENGTH]) {
  static const uint8_t options[8] = {99, 130, 83, 99, /* magic */ 53, 1, 1, /* DISCOVER */ 255};
  memset(frame, 0, DISCOVER_LENGTH);
  memset(frame, 0xff, 6); /* to everybody */
  memcpy(frame + 6, our_mac, 6);
  put16(frame + 12, 0x0800);

  uint8_t* ip = frame + IP;
  ip[0] = 0x45;
  put16(ip + 2, DISCOVER_LENGTH - IP);
  ip[8] = 64;               /* TTL */
  ip[9] = 17;               /* UDP */
  memset(ip + 16, 0xff, 4); /* from 0.0.0.0 to 255.255.255.255 */
  put16(ip + 10, header_checksum(ip));

  uint8_t* udp = frame + UDP; /* its checksum stays 0: none */
  put16(udp, CLIENT_PORT);
  put16(udp + 2, SERVER_PORT);
  put16(udp + 4, DISCOVER_LENGTH - UDP);

  uint8_t* bootp = frame + BOOTP;
  bootp[0] = 1; /* request */
  bootp[1] = 1; /* Ethernet, */
  bootp[2] = 6; /* its addresses have 6 bytes */
  memcpy(bootp + 4, our_xid, 4);
  memcpy(bootp + 28, our_mac, 6);
  memcpy(frame + OPTIONS, options, sizeof options);
}

/* Prints the offered address if the frame is the answer to our DISCOVER. */
static int is_offer(const uint8_t* frame, size_t length) {
  if (length < OPTIONS || get16(frame + 12) != 0x0800 || frame[IP + 9] != 17) return 0;
  if (get16(frame + UDP) != SERVER_PORT || get16(frame + UDP + 2) != CLIENT_PORT) return 0;
  const uint8_t* bootp = frame + BOOTP;
  if (bootp[0] != 2 || memcmp(bootp + 4, our_xid, 4) != 0) return 0;
  printf("offered %u.%u.%u.%u\n", bootp[16], bootp[17], bootp[18], bootp[19]);
  return 1;
}

static int ask(rp_plug* plug) {
  static uint8_t frame[RP_MAX_FRAME];
  write_discover(frame);
  if (rp_plug_send(plug, frame, DISCOVER_LENGTH) < 0) return 0;

  /* The descriptor is readable exactly while a frame waits. */
  struct pollfd readable = {rp_plug_fd(plug), POLLIN, 0};
  while (poll(&readable, 1, PATIENCE_MS) > 0) {
    ssize_t length = rp_plug_recv(plug, frame, sizeof frame);
    if (length > 0 && is_offer(frame, (size_t)length)) return 1;
  }
  return 0;
}

int main(int argc, char** argv) {
  rp_error err = RP_ERROR_INIT;
  rp_plug* plug;
  if (rp_plug_open(argc > 1 ? argv[1] : "slirp", NULL, &plug, &err) != RP_OK) {
    fprintf(stderr, "embed: %s\n", err.message);
    return 2;
  }
  int offered = ask(plug);
  rp_plug_close(plug);
  if (!offered) fprintf(stderr, "embed: no DHCP server answered\n");
  return offered ? 0 : 1;
}
