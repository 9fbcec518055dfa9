/* SPDX-License-Identifier: BSD-3-Clause */
/* mini_guest.h - the few frames of a guest that tests of the C ABI need: DHCP, ARP and TCP. */
#ifndef MINI_GUEST_H
#define MINI_GUEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GUEST_FRAME = 1514 };
enum { GUEST_FIN = 1, GUEST_SYN = 2, GUEST_RST = 4, GUEST_PSH = 8, GUEST_ACK = 16 };

/* What a TCP segment to the guest says. */
struct guest_segment {
  unsigned source_port, destination_port;
  uint32_t seq, ack;
  unsigned flags;
  size_t payload;
};

/* Each writes a whole frame and returns its length. The guest is 10.0.2.15, the gateway 10.0.2.2.
 */
size_t guest_dhcp_discover(uint8_t* frame);
/* Asks for the gateway's address, which tells it ours. */
size_t guest_arp_request(uint8_t* frame);
/* To the gateway; `payload` bytes of 'x'. */
size_t guest_tcp(uint8_t* frame, unsigned source_port, unsigned destination_port, uint32_t seq,
                 uint32_t ack, unsigned flags, size_t payload);

int guest_is_dhcp_offer(const uint8_t* frame, size_t length);
int guest_is_arp_reply(const uint8_t* frame, size_t length);
int guest_is_tcp(const uint8_t* frame, size_t length, struct guest_segment* out);

#ifdef __cplusplus
}
#endif

#endif
