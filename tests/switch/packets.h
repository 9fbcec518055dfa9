// SPDX-License-Identifier: BSD-3-Clause
// packets.h - TCP and UDP frames for tests, their segments and checksums worked out naively.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "switch/offload.h"

namespace rp::test {

using Bytes = std::vector<std::uint8_t>;
inline constexpr std::uint8_t kNeedsCsum = VIRTIO_NET_HDR_F_NEEDS_CSUM;
inline constexpr std::uint8_t kDataValid = VIRTIO_NET_HDR_F_DATA_VALID;
inline constexpr std::uint8_t kTcp4 = VIRTIO_NET_HDR_GSO_TCPV4, kTcp6 = VIRTIO_NET_HDR_GSO_TCPV6;
inline constexpr std::uint8_t kEcn = VIRTIO_NET_HDR_GSO_ECN;

inline void put16(Bytes& b, std::size_t at, std::size_t v) {
  b[at] = static_cast<std::uint8_t>(v >> 8);
  b[at + 1] = static_cast<std::uint8_t>(v);
}

inline unsigned get16(const Bytes& b, std::size_t at) {
  return b[at] * 256u + b[at + 1];
}

inline void put32(Bytes& b, std::size_t at, std::uint32_t v) {
  put16(b, at, v >> 16);
  put16(b, at + 2, v & 0xffff);
}

inline std::uint32_t get32(const Bytes& b, std::size_t at) {
  return get16(b, at) << 16 | get16(b, at + 2);
}

/// The byte-wise one's complement sum, folded, not inverted.
inline unsigned naive_sum(const Bytes& b, std::size_t from, std::size_t to, std::uint64_t sum = 0) {
  for (std::size_t i = from; i < to; ++i) sum += std::uint64_t{b[i]} << ((i - from) % 2 ? 0 : 8);
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<unsigned>(sum);
}

/// What a test frame is made of.
struct Recipe {
  bool v6 = false;
  bool udp = false;
  bool df = true;  ///< IPv4: don't fragment
  unsigned tags = 0;
  std::size_t ip_options = 0;   ///< bytes, a multiple of 4
  std::size_t tcp_options = 0;  ///< bytes, a multiple of 4
  std::size_t payload = 1000;
  std::uint8_t flags = sw::kTcpAck;

  std::size_t l3() const { return 14 + tags * std::size_t{4}; }
  std::size_t l4() const { return l3() + (v6 ? 40 : 20 + ip_options); }
  std::size_t start() const { return l4() + (udp ? 8 : 20 + tcp_options); }
  std::size_t size() const { return start() + payload; }
  std::size_t field() const { return l4() + csum_offset(); }
  std::uint16_t csum_offset() const { return udp ? 6 : 16; }
  std::uint8_t proto() const { return udp ? sw::kProtoUdp : sw::kProtoTcp; }
  std::uint8_t gso_type() const { return udp ? sw::kGsoUdpL4 : v6 ? kTcp6 : kTcp4; }
  std::string name() const {
    return std::string(v6 ? "v6" : "v4") + (udp ? " udp" : " tcp") + " tags " +
           std::to_string(tags) + " ip+" + std::to_string(ip_options) + " tcp+" +
           std::to_string(tcp_options) + " payload " + std::to_string(payload);
  }
};

inline unsigned naive_pseudo(const Bytes& b, const Recipe& r) {
  const std::size_t addresses = r.l3() + (r.v6 ? 8 : 12);
  const std::uint64_t rest = r.proto() + (b.size() - r.l4());
  return naive_sum(b, addresses, addresses + (r.v6 ? 32 : 8), rest);
}

/// Makes lengths and sums agree with the frame; the L4 field gets the pseudo header's sum alone.
inline void seal(Bytes& b, const Recipe& r) {
  if (r.v6) {
    put16(b, r.l3() + 4, b.size() - r.l4());
  } else {
    put16(b, r.l3() + 2, b.size() - r.l3());
    put16(b, r.l3() + 10, 0);
    put16(b, r.l3() + 10, ~naive_sum(b, r.l3(), r.l4()) & 0xffff);
  }
  if (r.udp) put16(b, r.l4() + 4, b.size() - r.l4());
  put16(b, r.field(), naive_pseudo(b, r));
}

/// What a port that takes no offload must see.
inline void naive_complete(Bytes& b, const Recipe& r) {
  const unsigned sum = ~naive_sum(b, r.l4(), b.size()) & 0xffff;
  put16(b, r.field(), r.udp && sum == 0 ? 0xffff : sum);
}

inline Bytes build(const Recipe& r, std::mt19937& rng) {
  Bytes b(r.size());
  std::generate(b.begin(), b.end(), [&] { return static_cast<std::uint8_t>(rng()); });
  for (unsigned t = 0; t < r.tags; ++t)
    put16(b, 12 + 4 * t, t == 0 && r.tags > 1 ? 0x88a8 : 0x8100);
  put16(b, r.l3() - 2, r.v6 ? 0x86dd : 0x0800);
  if (r.v6) {
    b[r.l3()] = 0x60;
    b[r.l3() + 6] = r.proto();
  } else {
    b[r.l3()] = static_cast<std::uint8_t>(0x45 + r.ip_options / 4);
    put16(b, r.l3() + 6, r.df ? 0x4000 : 0);
    b[r.l3() + 9] = r.proto();
  }
  if (!r.udp) {
    b[r.l4() + 12] = static_cast<std::uint8_t>((5 + r.tcp_options / 4) << 4);
    b[r.l4() + 13] = r.flags;
  }
  seal(b, r);
  return b;
}

/// The frames that `b` becomes, built from scratch one field at a time.
inline std::vector<Bytes> naive_segments(const Bytes& b, const Recipe& r, std::size_t mss) {
  std::vector<Bytes> out;
  for (std::size_t at = r.start(); at < b.size(); at += mss) {
    const std::size_t end = std::min(at + mss, b.size()), i = out.size();
    Bytes s(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(r.start()));
    s.insert(s.end(), b.begin() + static_cast<std::ptrdiff_t>(at),
             b.begin() + static_cast<std::ptrdiff_t>(end));
    if (!r.v6) put16(s, r.l3() + 4, get16(b, r.l3() + 4) + i);
    if (!r.udp) {
      put32(s, r.l4() + 4, get32(b, r.l4() + 4) + static_cast<std::uint32_t>(at - r.start()));
      if (end != b.size()) s[r.l4() + 13] &= 0xf6;
      if (i != 0) s[r.l4() + 13] &= 0x7f;
    }
    seal(s, r);
    out.push_back(std::move(s));
  }
  return out;
}

inline std::vector<Bytes> completed(std::vector<Bytes> segments, const Recipe& r) {
  for (Bytes& s : segments) naive_complete(s, r);
  return segments;
}

inline Recipe random_recipe(std::mt19937& rng) {
  Recipe r;
  r.v6 = rng() % 2;
  r.udp = rng() % 2;
  r.tags = static_cast<unsigned>(rng() % 3);
  r.ip_options = r.v6 ? 0 : rng() % 6 * 4;
  r.tcp_options = r.udp ? 0 : rng() % 11 * 4;
  r.payload = 1 + (rng() % 4 ? rng() % 4000 : rng() % 60000);
  r.flags = static_cast<std::uint8_t>(rng());
  return r;
}

/// `n` complete segments of one flow.
inline std::vector<Bytes> train(const Recipe& recipe, std::size_t n, std::size_t mss,
                                unsigned seed = 1) {
  std::mt19937 rng(seed);
  Recipe r = recipe;
  r.payload = n * mss;
  return completed(naive_segments(build(r, rng), r, mss), r);
}

/// A frame over `bytes`, its body cut into pieces.
struct Held {
  Bytes bytes;
  std::vector<sw::Part> parts;
  sw::Frame frame;

  explicit Held(Bytes b, std::size_t piece = 1 << 20) : bytes(std::move(b)) {
    bytes.reserve(1);  // so that an empty frame has an address too
    sw::Part whole;
    sw::make_frame(frame, whole, bytes);
    for (std::size_t at = frame.head_len; at < bytes.size(); at += piece)
      parts.push_back(
          {bytes.data() + at, static_cast<std::uint32_t>(std::min(piece, bytes.size() - at))});
    frame.body = parts;
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
};

inline sw::Offload csum_claim(const Recipe& r) {
  sw::Offload o;
  o.flags = kNeedsCsum;
  o.csum_start = static_cast<std::uint16_t>(r.l4());
  o.csum_offset = r.csum_offset();
  return o;
}

inline sw::Offload gso_claim(const Recipe& r, std::size_t mss) {
  sw::Offload o = csum_claim(r);
  o.gso_type =
      static_cast<std::uint8_t>(r.gso_type() | (r.flags & sw::kTcpCwr && !r.udp ? kEcn : 0));
  o.gso_size = static_cast<std::uint16_t>(mss);
  o.hdr_len = static_cast<std::uint16_t>(r.start());
  return o;
}

inline Bytes bytes_of(const sw::Frame& f) {
  Bytes b(f.len);
  f.copy_to(b.data());
  return b;
}

}  // namespace rp::test
