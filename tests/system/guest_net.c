// SPDX-License-Identifier: BSD-3-Clause
// guest_net.c - moves bulk data in the test guest and says how much, how fast and with what
// SHA-256; or sends back what comes.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kBuffer = 1 << 16, kPatienceSeconds = 60 };

static const char kUsage[] =
    "usage: guest_net [-q] MODE ...       (-q: no digest)\n"
    "  send HOST PORT BYTES               connect, send, wait for the peer's end\n"
    "  recv HOST PORT                     connect, read to the end\n"
    "  ask HOST PORT TEXT                 connect, send a line, print the line that comes back\n"
    "  sink PORT                          accept one connection, read to its end\n"
    "  source PORT BYTES                  accept one connection, send\n"
    "  udp-echo PORT                      send every datagram back, until killed\n"
    "  udp-ask HOST PORT COUNT SIZE       send datagrams, wait for each to come back\n"
    "  frame-echo DEVICE                  send frames of type 88b5 back as 88b6, until killed\n"
    "  frame-hello DEVICE                 broadcast a frame of type 88b6\n";

static _Noreturn void fail(const char* what) {
  fprintf(stderr, "guest_net: %s: %s\n", what, strerror(errno));
  exit(1);
}

// SHA-256 as in FIPS 180-4; the names are the standard's.

struct sha256 {
  uint32_t h[8];
  uint8_t block[64];
  uint64_t length;
};

static const uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static void sha256_init(struct sha256* s) {
  static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  memcpy(s->h, start, sizeof start);
  s->length = 0;
}

static inline uint32_t rotr(uint32_t x, int n) {
  return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t hash[8], const uint8_t* p) {
  uint32_t w[64];
  for (int t = 0; t < 16; t++, p += 4)
    w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
  for (int t = 16; t < 64; t++) {
    uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = s1 + w[t - 7] + s0 + w[t - 16];
  }
  uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
  uint32_t e = hash[4], f = hash[5], g = hash[6], h = hash[7];
  for (int t = 0; t < 64; t++) {
    uint32_t S1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    uint32_t T1 = h + S1 + ((e & f) ^ (~e & g)) + kRound[t] + w[t];
    uint32_t S0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    uint32_t T2 = S0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + T1;
    d = c, c = b, b = a, a = T1 + T2;
  }
  hash[0] += a, hash[1] += b, hash[2] += c, hash[3] += d;
  hash[4] += e, hash[5] += f, hash[6] += g, hash[7] += h;
}

static void sha256_add(struct sha256* s, const uint8_t* data, size_t size) {
  size_t used = s->length % sizeof s->block;
  s->length += size;
  if (used > 0) {
    size_t part = sizeof s->block - used;
    if (part > size) part = size;
    memcpy(s->block + used, data, part);
    data += part, size -= part;
    if (used + part < sizeof s->block) return;
    sha256_block(s->h, s->block);
  }
  for (; size >= sizeof s->block; data += sizeof s->block, size -= sizeof s->block)
    sha256_block(s->h, data);
  memcpy(s->block, data, size);
}

static void sha256_print(struct sha256* s) {
  uint64_t bits = s->length * 8;
  uint8_t pad[72] = {0x80};
  size_t zeros = (119 - s->length % 64) % 64;  // so that the length ends a block
  for (int i = 0; i < 8; i++) pad[1 + zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
  sha256_add(s, pad, 1 + zeros + 8);
  for (int i = 0; i < 8; i++) printf("%08x", s->h[i]);
}

// What passed through a connection.
struct tally {
  bool quiet;
  uint64_t bytes;
  struct sha256 digest;
  struct timespec start;
};

static void tally_init(struct tally* t, bool quiet) {
  t->quiet = quiet;
  t->bytes = 0;
  sha256_init(&t->digest);
  clock_gettime(CLOCK_MONOTONIC, &t->start);
}

static void tally_add(struct tally* t, const uint8_t* data, size_t size) {
  t->bytes += size;
  if (!t->quiet) sha256_add(&t->digest, data, size);
}

static void tally_print(struct tally* t) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t ms = (now.tv_sec - t->start.tv_sec) * 1000 + (now.tv_nsec - t->start.tv_nsec) / 1000000;
  printf("bytes=%llu ms=%lld", (unsigned long long)t->bytes, (long long)ms);
  if (!t->quiet) {
    printf(" sha256=");
    sha256_print(&t->digest);
  }
  printf("\n");
  fflush(stdout);
}

static unsigned long long number(const char* text, unsigned long long max) {
  char* end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value > max) {
    errno = EINVAL;
    fail(text);
  }
  return value;
}

// IPv4 addresses are taken in mapped form, so that one kind of socket does for both families.
static struct sockaddr_in6 address(const char* host, const char* port) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                            .sin6_port = htons((uint16_t)number(port, 65535))};
  char mapped[INET6_ADDRSTRLEN + 8];
  snprintf(mapped, sizeof mapped, "%s%s", strchr(host, ':') ? "" : "::ffff:", host);
  if (inet_pton(AF_INET6, mapped, &to.sin6_addr) != 1) {
    errno = EINVAL;
    fail(host);
  }
  return to;
}

static int open_socket(int type) {
  int fd = socket(AF_INET6, type, 0);
  int off = 0, on = 1;
  struct timeval patience = {.tv_sec = kPatienceSeconds};
  if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0)
    fail("socket");
  return fd;
}

static int connect_to(int type, const char* host, const char* port) {
  int fd = open_socket(type);
  struct sockaddr_in6 to = address(host, port);
  if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) fail("connect");
  return fd;
}

static int bind_to(int type, const char* port) {
  int fd = open_socket(type);
  struct sockaddr_in6 any = address("::", port);
  if (bind(fd, (struct sockaddr*)&any, sizeof any) != 0) fail("bind");
  return fd;
}

static void say_ready(void) {
  printf("ready\n");
  fflush(stdout);
}

static int accept_one(const char* port) {
  int listener = bind_to(SOCK_STREAM, port);
  if (listen(listener, 1) != 0) fail("listen");
  say_ready();
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) fail("accept");
  close(listener);
  return fd;
}

// Bytes that differ everywhere, so that a piece lost, doubled or moved changes the digest
// (xorshift).
static void fill(uint64_t* words, size_t count) {
  static uint64_t state = 0;
  if (state == 0) state = (uint64_t)time(NULL) << 20 ^ (uint64_t)getpid() ^ 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    words[i] = state;
  }
}

static void read_to_end(int fd, struct tally* t) {
  static uint8_t buffer[kBuffer];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0) fail("recv");
    if (n == 0) return;
    tally_add(t, buffer, (size_t)n);
  }
}

static void send_bytes(int fd, uint64_t bytes, struct tally* t) {
  static uint64_t words[kBuffer / 8];
  const uint8_t* data = (const uint8_t*)words;
  fill(words, kBuffer / 8);
  while (t->bytes < bytes) {
    size_t size = bytes - t->bytes < kBuffer ? (size_t)(bytes - t->bytes) : kBuffer;
    // A throughput run measures the network, not the generator: it sends one buffer again and
    // again.
    if (!t->quiet && t->bytes > 0) fill(words, kBuffer / 8);
    for (size_t done = 0; done < size;) {
      ssize_t n = send(fd, data + done, size - done, MSG_NOSIGNAL);
      if (n < 0) fail("send");
      done += (size_t)n;
    }
    tally_add(t, data, size);
  }
  if (shutdown(fd, SHUT_WR) != 0) fail("shutdown");
  // The peer ends its side when it has everything; only then does the time count.
  struct tally back;
  tally_init(&back, true);
  read_to_end(fd, &back);
}

static void ask(const char* host, const char* port, const char* text) {
  int fd = connect_to(SOCK_STREAM, host, port);
  FILE* stream = fdopen(fd, "r+");
  char line[1024];
  if (!stream) fail("fdopen");
  fprintf(stream, "%s\n", text);
  fflush(stream);
  if (!fgets(line, sizeof line, stream)) fail("no answer");
  fputs(line, stdout);
}

static void udp_echo(const char* port) {
  static uint8_t buffer[kBuffer];
  int fd = bind_to(SOCK_DGRAM, port);
  say_ready();
  for (;;) {
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
    if (n >= 0) sendto(fd, buffer, (size_t)n, 0, (struct sockaddr*)&from, length);
  }
}

static void udp_ask(const char* host, const char* port, unsigned count, size_t size) {
  static uint8_t back[kBuffer];
  static uint64_t words[kBuffer / 8];
  int fd = connect_to(SOCK_DGRAM, host, port);
  struct timeval patience = {.tv_sec = 1};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  unsigned answered = 0;
  for (unsigned i = 0; i < count; i++) {
    fill(words, kBuffer / 8);
    if (send(fd, words, size, 0) != (ssize_t)size) fail("send");
    ssize_t n = recv(fd, back, sizeof back, 0);
    if (n == (ssize_t)size && memcmp(back, words, size) == 0) answered++;
  }
  printf("answered=%u of=%u\n", answered, count);
}

// Both ethertypes are for experiments (IEEE 802).
enum { kAsked = 0x88b5, kAnswer = 0x88b6, kAddress = 6, kHeader = 14 };

// Fills in the device's own address.
static int packet_socket(const char* device, uint8_t* own) {
  int fd = socket(AF_PACKET, SOCK_RAW, htons(kAsked));
  struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(kAsked)};
  socklen_t length = sizeof at;
  at.sll_ifindex = (int)if_nametoindex(device);
  if (fd < 0 || bind(fd, (struct sockaddr*)&at, sizeof at) != 0 ||
      getsockname(fd, (struct sockaddr*)&at, &length) != 0)
    fail(device);
  memcpy(own, at.sll_addr, kAddress);
  return fd;
}

static void put_header(uint8_t* frame, const uint8_t* to, const uint8_t* from) {
  memcpy(frame, to, kAddress);
  memcpy(frame + kAddress, from, kAddress);
  frame[kHeader - 2] = kAnswer >> 8;
  frame[kHeader - 1] = kAnswer & 0xff;
}

static void frame_echo(const char* device) {
  static uint8_t buffer[kBuffer];
  uint8_t own[kAddress];
  int fd = packet_socket(device, own);
  say_ready();
  for (;;) {
    struct sockaddr_ll from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
    if (n < kHeader || from.sll_pkttype != PACKET_HOST) continue;
    put_header(buffer, from.sll_addr, own);
    send(fd, buffer, (size_t)n, MSG_DONTWAIT);
  }
}

static void frame_hello(const char* device) {
  static const uint8_t kAll[kAddress] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  uint8_t frame[60] = {0}, own[kAddress];
  int fd = packet_socket(device, own);
  put_header(frame, kAll, own);
  if (send(fd, frame, sizeof frame, 0) < 0) fail("send");
}

int main(int argc, char** argv) {
  bool quiet = argc > 1 && strcmp(argv[1], "-q") == 0;
  if (quiet) argv++, argc--;
  const char* mode = argc > 1 ? argv[1] : "";
  char** args = argv + 2;
  int count = argc - 2;
  struct tally t;
  if (strcmp(mode, "send") == 0 && count == 3) {
    int fd = connect_to(SOCK_STREAM, args[0], args[1]);
    tally_init(&t, quiet);
    send_bytes(fd, number(args[2], UINT64_MAX), &t);
  } else if (strcmp(mode, "recv") == 0 && count == 2) {
    int fd = connect_to(SOCK_STREAM, args[0], args[1]);
    tally_init(&t, quiet);
    read_to_end(fd, &t);
  } else if (strcmp(mode, "ask") == 0 && count == 3) {
    ask(args[0], args[1], args[2]);
    return 0;
  } else if (strcmp(mode, "sink") == 0 && count == 1) {
    int fd = accept_one(args[0]);
    tally_init(&t, quiet);
    read_to_end(fd, &t);
  } else if (strcmp(mode, "source") == 0 && count == 2) {
    int fd = accept_one(args[0]);
    tally_init(&t, quiet);
    send_bytes(fd, number(args[1], UINT64_MAX), &t);
  } else if (strcmp(mode, "udp-echo") == 0 && count == 1) {
    udp_echo(args[0]);
  } else if (strcmp(mode, "udp-ask") == 0 && count == 4) {
    udp_ask(args[0], args[1], (unsigned)number(args[2], 1000000), (size_t)number(args[3], kBuffer));
    return 0;
  } else if (strcmp(mode, "frame-echo") == 0 && count == 1) {
    frame_echo(args[0]);
  } else if (strcmp(mode, "frame-hello") == 0 && count == 1) {
    frame_hello(args[0]);
    return 0;
  } else {
    fputs(kUsage, stderr);
    return 2;
  }
  tally_print(&t);
  return 0;
}
