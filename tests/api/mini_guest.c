/* SPDX-License-Identifier: BSD-3-Clause */
/* mini_guest.c - frames by byte offsets; only what a well-behaved guest would send. */
#include "mini_guest.h"

#include <string.h>

enum { IP = 14, L4 = 34, BOOTP = 42, DHCP = BOOTP + 236 };

static const uint8_t guest_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
static const uint8_t gateway_mac[6] = {0x52, 0x55, 10, 0, 2, 2};
static const uint8_t guest_ip[4] = {10, 0, 2, 15};
static const uint8_t gateway_ip[4] = {10, 0, 2, 2};

static void put16(uint8_t* at, unsigned v) {
  at[0] = (uint8_t)(v >> 8);
  at[1] = (uint8_t)v;
}

static void put32(uint8_t* at, uint32_t v) {
  put16(at, v >> 16);
  put16(at + 2, v & 0xffff);
}

static unsigned get16(const uint8_t* at) {
  return (unsigned)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t* at) {
  return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* RFC 1071; `sum` is what goes before. */
static unsigned checksum(unsigned long sum, const uint8_t* data, size_t length) {
  for (size_t i = 0; i + 1 < length; i += 2) sum += get16(data + i);
  if (length % 2 != 0) sum += (unsigned long)data[length - 1] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

static void put_ethernet(uint8_t* frame, const uint8_t* to, unsigned type) {
  memcpy(frame, to, 6);
  memcpy(frame + 6, guest_mac, 6);
  put16(frame + 12, type);
}

static void put_ip(uint8_t* frame, const uint8_t* from, const uint8_t* to, unsigned protocol,
                   size_t length) {
  uint8_t* ip = frame + IP;
  memset(ip, 0, 20);
  ip[0] = 0x45;
  put16(ip + 2, (unsigned)(length - IP));
  ip[8] = 64;
  ip[9] = (uint8_t)protocol;
  memcpy(ip + 12, from, 4);
  memcpy(ip + 16, to, 4);
  put16(ip + 10, checksum(0, ip, 20));
}

size_t guest_dhcp_discover(uint8_t* frame) {
  static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
  static const uint8_t nobody[4] = {0, 0, 0, 0};
  static const uint8_t options[8] = {99, 130, 83, 99, 53, 1, 1, 255};
  const size_t length = DHCP + sizeof options;
  memset(frame, 0, length);
  put_ethernet(frame, everybody, 0x0800);
  put_ip(frame, nobody, everybody, 17, length);
  put16(frame + L4, 68);
  put16(frame + L4 + 2, 67);
  put16(frame + L4 + 4, (unsigned)(length - L4));
  memcpy(frame + BOOTP, "\x01\x01\x06", 3);
  memcpy(frame + BOOTP + 28, guest_mac, 6);
  memcpy(frame + DHCP, options, sizeof options);
  return length;
}

size_t guest_arp_request(uint8_t* frame) {
  static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
  memset(frame, 0, 60);
  put_ethernet(frame, everybody, 0x0806);
  memcpy(frame + 14, "\x00\x01\x08\x00\x06\x04\x00\x01", 8);
  memcpy(frame + 22, guest_mac, 6);
  memcpy(frame + 28, guest_ip, 4);
  memcpy(frame + 38, gateway_ip, 4);
  return 60;
}

size_t guest_tcp(uint8_t* frame, unsigned source_port, unsigned destination_port, uint32_t seq,
                 uint32_t ack, unsigned flags, size_t payload) {
  const size_t length = L4 + 20 + payload;
  uint8_t* tcp = frame + L4;
  put_ethernet(frame, gateway_mac, 0x0800);
  put_ip(frame, guest_ip, gateway_ip, 6, length);
  memset(tcp, 0, 20);
  put16(tcp, source_port);
  put16(tcp + 2, destination_port);
  put32(tcp + 4, seq);
  put32(tcp + 8, ack);
  tcp[12] = 5 << 4;
  tcp[13] = (uint8_t)flags;
  put16(tcp + 14, 65535);
  memset(tcp + 20, 'x', payload);
  /* The pseudo-header: both addresses, the protocol, the length. */
  unsigned long sum = 6 + 20 + (unsigned long)payload;
  for (int i = 0; i < 8; i += 2) sum += get16(frame + IP + 12 + i);
  put16(tcp + 16, checksum(sum, tcp, 20 + payload));
  return length;
}

int guest_is_dhcp_offer(const uint8_t* frame, size_t length) {
  return length > DHCP && get16(frame + 12) == 0x0800 && frame[IP + 9] == 17 &&
         get16(frame + L4) == 67 && get16(frame + L4 + 2) == 68 &&
         memcmp(frame + BOOTP + 16, guest_ip, 4) == 0;
}

int guest_is_arp_reply(const uint8_t* frame, size_t length) {
  return length >= 42 && get16(frame + 12) == 0x0806 && get16(frame + 20) == 2 &&
         memcmp(frame + 28, gateway_ip, 4) == 0;
}

int guest_is_tcp(const uint8_t* frame, size_t length, struct guest_segment* out) {
  if (length < L4 + 20 || get16(frame + 12) != 0x0800 || frame[IP + 9] != 6) return 0;
  const uint8_t* tcp = frame + L4;
  out->source_port = get16(tcp);
  out->destination_port = get16(tcp + 2);
  out->seq = get32(tcp + 4);
  out->ack = get32(tcp + 8);
  out->flags = tcp[13];
  out->payload = get16(frame + IP + 2) - 20 - (size_t)(tcp[12] >> 4) * 4;
  return 1;
}
