// SPDX-License-Identifier: BSD-3-Clause
// coalesce.cc - reads segments, finds what follows on, and builds the joined frames.
#include "switch/coalesce.h"

#include <algorithm>
#include <cstring>

#include "switch/checksum.h"
#include "switch/offload.h"

namespace rp::sw {
namespace {

constexpr std::uint16_t kDontFragment = 0x4000;  // RFC 791, 3.1
constexpr std::uint16_t kTcpChecksum = 16;       // RFC 9293, 3.1

/// The heads agree in bytes [from, to).
bool same(const Frame& a, const Frame& b, std::uint32_t from, std::uint32_t to) noexcept {
  return std::memcmp(a.head.data() + from, b.head.data() + from, to - from) == 0;
}

/// Most frames are told by their ethertype alone.
bool may_be_ip(const Frame& f) noexcept {
  const std::uint16_t type =
      read_at<Be16>(f.head_bytes(), offsetof(EthHeader, type)).value_or(Be16(0)).get();
  return type == kEtherIpv4 || type == kEtherIpv6 || type == kEtherVlan || type == kEtherQinQ;
}

/// The bytes are all there. Ports see to it; a joined frame must not lie if one did not.
bool whole(const Frame& f) noexcept {
  std::uint64_t total = f.head_len;
  for (const Part& p : f.body) total += p.len;
  return total == f.len && f.head_len == std::min(f.len, Frame::kHead);
}

/// The sum of a frame's bytes from `from` on, which lies in the head.
std::uint32_t sum_from(const Frame& f, std::uint32_t from, std::uint32_t sum) noexcept {
  sum = checksum_add(sum, f.head_bytes().subspan(from));
  bool odd = (f.head_len - from) & 1;
  for (const Part& p : f.body) {
    std::uint32_t piece = checksum_add(0, {p.data, p.len});
    // RFC 1071, 2(B): from an odd byte on, a sum has its bytes swapped.
    if (odd) piece = (piece & 0xff) << 8 | piece >> 8;
    sum += piece;
    odd ^= p.len & 1;
  }
  return sum;
}

Layers layers_of(bool v6, std::uint32_t l3, std::uint32_t l4) noexcept {
  return {v6 ? kEtherIpv6 : kEtherIpv4, kProtoTcp, l3, l4, 0};
}

/// Adds a frame's bytes from `from` on. Returns the number of parts written.
std::size_t append(Frame& to, const Frame& f, std::uint32_t from, Part* out) noexcept {
  const std::uint32_t fill = std::min(Frame::kHead - to.head_len, f.head_len - from);
  std::memcpy(to.head.data() + to.head_len, f.head.data() + from, fill);
  to.head_len += fill;
  from += fill;
  std::size_t n = 0;
  if (from < f.head_len) out[n++] = {f.head.data() + from, f.head_len - from};
  for (const Part& p : f.body) out[n++] = p;
  return n;
}

}  // namespace

/// A frame that may be TCP but can't be told apart is `unclear`: what follows must not overtake it.
Coalescer::Kind Coalescer::read(const Frame& f, const Offloads& can, Segment& s) noexcept {
  Layers l;
  if (!may_be_ip(f) || !locate(f, l)) return Kind::other;
  s.l3 = l.l3;
  s.l4 = l.l4;
  s.v6 = l.type == kEtherIpv6;
  s.id = s.frag = 0;
  if (s.v6) {
    if (!can.tso6 || l.proto == kProtoUdp || l.proto == kProtoIcmp6) return Kind::other;
    return l.proto == kProtoTcp ? read_tcp(f, s) : Kind::unclear;
  }
  if (l.type != kEtherIpv4 || !can.tso4 || l.proto != kProtoTcp) return Kind::other;
  const auto ip = read_at<Ipv4Header>(f.head_bytes(), l.l3).value_or(Ipv4Header{});
  s.id = ip.id.get();
  s.frag = ip.frag.get();
  if (ip.header_len() != sizeof ip || (s.frag & ~kDontFragment)) return Kind::unclear;
  return read_tcp(f, s);
}

Coalescer::Kind Coalescer::read_tcp(const Frame& f, Segment& s) noexcept {
  const auto tcp = read_at<TcpHeader>(f.head_bytes(), s.l4);
  if (!tcp) return Kind::unclear;
  s.payload = s.l4 + static_cast<std::uint32_t>(tcp->header_len());
  if (tcp->header_len() < sizeof *tcp || s.payload >= f.len) return Kind::apart;
  if ((tcp->flags & ~kTcpPsh) != kTcpAck) return Kind::apart;
  s.push = tcp->flags & kTcpPsh;
  s.seq = tcp->seq.get();
  s.size = f.len - s.payload;
  s.unit = f.offload.is_gso() ? f.offload.gso_size : s.size;
  // The IP length: v4 counts its header, v6 does not.
  const auto length = read_at<Be16>(f.head_bytes(), s.l3 + (s.v6 ? 4 : 2)).value_or(Be16(0)).get();
  if (length != f.len - (s.v6 ? s.l4 : s.l3)) return Kind::apart;
  return metadata_fits(f, s) && whole(f) ? Kind::segment : Kind::apart;
}

/// What check_offload() saw holds unless the headers were moved since.
bool Coalescer::metadata_fits(const Frame& f, const Segment& s) noexcept {
  const Offload& o = f.offload;
  if (o.is_gso()) {
    const int type = s.v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
    if (o.gso_type != type || !o.needs_csum() || s.unit == 0) return false;
  }
  return !o.needs_csum() || (o.csum_start == s.l4 && o.csum_offset == kTcpChecksum);
}

/// A segmenter computes a GSO frame's TCP checksums afresh, whatever the field holds.
bool Coalescer::intact(const Frame& f, const Segment& s) noexcept {
  const auto header = f.head_bytes().subspan(s.l3, s.l4 - s.l3);
  if (!s.v6 && checksum_finish(checksum_add(0, header)) != 0) return false;
  if (f.offload.is_gso()) return true;
  const std::uint32_t pseudo = pseudo_of(f, layers_of(s.v6, s.l3, s.l4));
  if (f.offload.needs_csum()) {
    const auto field = read_at<Be16>(f.head_bytes(), s.l4 + kTcpChecksum);
    return field && field->get() == checksum_to_do(pseudo);
  }
  if (f.offload.flags & VIRTIO_NET_HDR_F_DATA_VALID) return true;
  return checksum_finish(sum_from(f, s.l4, pseudo)) == 0;
}

/// IP addresses and ports, whatever the tags.
bool Coalescer::same_flow(const Frame& a, const Segment& sa, const Frame& b,
                          const Segment& sb) noexcept {
  const auto equal = [&](std::uint32_t from_a, std::uint32_t from_b, std::size_t n) {
    return std::memcmp(a.head.data() + from_a, b.head.data() + from_b, n) == 0;
  };
  if (sa.v6 != sb.v6 || !equal(sa.l4, sb.l4, 4)) return false;
  return sa.v6 ? equal(sa.l3 + 8, sb.l3 + 8, 32) : equal(sa.l3 + 12, sb.l3 + 12, 8);
}

/// All but lengths, IPv4 id, sequence number, flags and checksums; `s` says where they lie in `a`.
/// As the ethertypes and the header's length agree, they lie there in `b` too.
bool Coalescer::same_headers(const Frame& a, const Frame& b, const Segment& s) noexcept {
  const bool ip = s.v6 ? same(a, b, 0, s.l3 + 4) && same(a, b, s.l3 + 6, s.l4)
                       : same(a, b, 0, s.l3 + 2) && same(a, b, s.l3 + 6, s.l3 + 10) &&
                             same(a, b, s.l3 + 12, s.l4);
  return ip && same(a, b, s.l4, s.l4 + 4) && same(a, b, s.l4 + 8, s.l4 + 13) &&
         same(a, b, s.l4 + 14, s.l4 + kTcpChecksum) && same(a, b, s.l4 + 18, s.payload);
}

Coalescer::Flow* Coalescer::find(const Frame& f, const Segment& s) noexcept {
  for (Flow& flow : std::span(flow_).first(flows_))
    if (same_flow(*in_[flow.first], flow.s, f, s)) return &flow;
  return nullptr;
}

bool Coalescer::follows(const Flow& flow, const Frame& f, const Segment& s) const noexcept {
  const Segment& first = flow.s;
  const std::uint32_t so_far = flow.len - first.payload, units = so_far / first.unit;
  if (s.seq != first.seq + so_far) return false;
  if (s.unit != first.unit && (f.offload.is_gso() || s.size > first.unit)) return false;
  if (flow.len + s.size > kMaxLen) return false;
  if ((so_far + s.size + first.unit - 1) / first.unit > kMaxSegments) return false;
  if (first.frag == 0 && !s.v6 && s.id != static_cast<std::uint16_t>(first.id + units))
    return false;
  return same_headers(*in_[flow.first], f, first);
}

/// A frame gives its body's parts and the rest of its head.
bool Coalescer::reserve(const Flow& flow, const Frame& f) noexcept {
  std::size_t need = f.body.size() + 1;
  if (flow.absorbed == 0) need += in_[flow.first]->body.size();
  if (need > parts_left_) return false;
  parts_left_ -= need;
  return true;
}

/// Sums cost the most, so they are computed only where there is something to join.
bool Coalescer::may_join(Flow& flow, const Frame& f, const Segment& s) noexcept {
  if (!follows(flow, f, s)) return false;
  flow.intact = flow.intact || intact(*in_[flow.first], flow.s);
  return flow.intact && intact(f, s) && reserve(flow, f);
}

/// True when frame i was joined to another; else it goes out in its place, perhaps to be joined to.
bool Coalescer::place(std::size_t i, const Segment& s) noexcept {
  const bool last = s.push || s.size % s.unit != 0;
  Flow* flow = find(*in_[i], s);
  if (flow && may_join(*flow, *in_[i], s)) {
    next_[flow->last] = static_cast<std::uint8_t>(i);
    flow->last = i;
    flow->len += s.size;
    flow->push = s.push;
    ++flow->absorbed;
    if (last || s.unit != flow->s.unit) close(*flow);
    return true;
  }
  if (flow) close(*flow);
  if (!last) open(i, s);
  return false;
}

void Coalescer::open(std::size_t i, const Segment& s) noexcept {
  const auto first = [](const Flow& a, const Flow& b) { return a.slot < b.slot; };
  if (flows_ == kOpen) close(*std::min_element(flow_.begin(), flow_.end(), first));
  flow_[flows_++] = {i, i, out_n_, s, in_[i]->len, 0, false, false};
}

void Coalescer::close(Flow& flow) noexcept {
  if (flow.absorbed > 0) build(flow);
  flow = flow_[--flows_];
}

void Coalescer::build(const Flow& flow) noexcept {
  const Segment& s = flow.s;
  Frame& f = joined_[joined_n_++];
  f = *in_[flow.first];
  f.len = flow.len;
  f.absorbed = flow.absorbed;
  f.own = nullptr;
  const std::size_t begin = parts_;
  for (const Part& p : in_[flow.first]->body) part_[parts_++] = p;
  for (std::size_t i = flow.first; i != flow.last;) {
    i = next_[i];
    parts_ += append(f, *in_[i], s.payload, part_.data() + parts_);
  }
  f.body = {part_.data() + begin, parts_ - begin};
  const std::uint32_t pseudo = set_ip_length(f.head, layers_of(s.v6, s.l3, s.l4), f.len, 0);
  if (flow.push) f.head[s.l4 + offsetof(TcpHeader, flags)] |= kTcpPsh;
  leave_checksum(f, s.l4, kTcpChecksum, pseudo);
  f.offload.gso_type = s.v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
  f.offload.hdr_len = static_cast<std::uint16_t>(s.payload);
  f.offload.gso_size = static_cast<std::uint16_t>(s.unit);
  out_[flow.slot] = &f;
}

std::span<const Frame* const> Coalescer::join(std::span<const Frame* const> frames,
                                              const Offloads& can) noexcept {
  if (frames.size() > Burst::kFrames) return frames;
  in_ = frames;
  out_n_ = flows_ = joined_n_ = parts_ = 0;
  parts_left_ = kParts;
  for (std::size_t i = 0; i < in_.size(); ++i) {
    Segment s;
    switch (read(*in_[i], can, s)) {
      case Kind::other:
        break;
      case Kind::unclear:
        while (flows_ > 0) close(flow_[flows_ - 1]);
        break;
      case Kind::apart:
        if (Flow* flow = find(*in_[i], s)) close(*flow);
        break;
      case Kind::segment:
        if (place(i, s)) continue;
        break;
    }
    out_[out_n_++] = in_[i];
  }
  while (flows_ > 0) close(flow_[flows_ - 1]);
  return {out_.data(), out_n_};
}

}  // namespace rp::sw
