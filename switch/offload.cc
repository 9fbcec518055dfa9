// SPDX-License-Identifier: BSD-3-Clause
// offload.cc - compares virtio_net_hdr claims with real headers; completes checksums and segments.
#include "switch/offload.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

#include "switch/checksum.h"

namespace rp::sw {
namespace {

/// More tags than an S-tag and a C-tag are payload to us.
constexpr int kMaxTags = 2;
/// RFC 768, RFC 9293, RFC 792 and RFC 4443: where the checksum lies in the header.
constexpr std::uint32_t kUdpChecksum = 6, kTcpChecksum = 16, kIcmpChecksum = 2;
/// RFC 791: more fragments, and the fragment offset.
constexpr std::uint16_t kFragmentBits = 0x3fff;

/// Where the checksum lies in its L4 header; nothing for protocols that we don't read.
std::optional<std::uint32_t> checksum_offset(const Layers& l) noexcept {
  switch (l.proto) {
    case kProtoTcp:
      return kTcpChecksum;
    case kProtoUdp:
      return kUdpChecksum;
    case kProtoIcmp:
    case kProtoIcmp6:
      return kIcmpChecksum;
    default:
      return std::nullopt;
  }
}

bool skip_tags(std::span<const std::uint8_t> head, Layers& l) noexcept {
  const auto type = read_at<Be16>(head, offsetof(EthHeader, type));
  if (!type) return false;
  l.type = type->get();
  l.l3 = sizeof(EthHeader);
  for (int tags = 0; tags < kMaxTags && (l.type == kEtherVlan || l.type == kEtherQinQ); ++tags) {
    const auto tag = read_at<VlanTag>(head, l.l3);
    if (!tag) return false;
    l.type = tag->type.get();
    l.l3 += sizeof(VlanTag);
  }
  return true;
}

bool skip_ipv4(std::span<const std::uint8_t> head, Layers& l) noexcept {
  const auto ip = read_at<Ipv4Header>(head, l.l3);
  if (!ip || ip->version() != 4 || ip->header_len() < sizeof(Ipv4Header)) return false;
  l.proto = ip->proto;
  l.l4 = l.l3 + static_cast<std::uint32_t>(ip->header_len());
  return l.l4 <= head.size();
}

bool skip_ipv6(std::span<const std::uint8_t> head, Layers& l) noexcept {
  const auto ip = read_at<Ipv6Header>(head, l.l3);
  if (!ip || ip->version() != 6) return false;
  l.proto = ip->next;
  l.l4 = l.l3 + sizeof(Ipv6Header);
  return true;
}

/// virtio 1.2, 5.1.6.2, held against the frame. 32-bit sums: the 16-bit ones can wrap.
bool csum_fits(const Frame& frame, const Layers& l) noexcept {
  const Offload& o = frame.offload;
  const std::uint32_t start = o.csum_start, field = start + o.csum_offset;
  if (!o.needs_csum() || start < l.l4 || field + 2 > frame.len) return false;
  const auto expected = checksum_offset(l);
  return !expected || (start == l.l4 && o.csum_offset == *expected);
}

/// The IP header's own length is the frame's, and the packet is whole.
bool ip_length_fits(const Frame& frame, const Layers& l) noexcept {
  if (l.type == kEtherIpv6) {
    const auto ip = read_at<Ipv6Header>(frame.head_bytes(), l.l3);
    return ip && ip->payload_len.get() == frame.len - l.l4;
  }
  const auto ip = read_at<Ipv4Header>(frame.head_bytes(), l.l3);
  return ip && ip->total_len.get() == frame.len - l.l3 && !(ip->frag.get() & kFragmentBits);
}

bool gso_type_fits(const Offload& o, const Layers& l) noexcept {
  switch (o.gso_type) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
      return l.type == kEtherIpv4 && l.proto == kProtoTcp;
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
      return l.type == kEtherIpv6 && l.proto == kProtoTcp;
    case kGsoUdpL4:
      return (l.type == kEtherIpv4 || l.type == kEtherIpv6) && l.proto == kProtoUdp;
    default:
      return false;
  }
}

/// The length of the TCP or UDP header; 0 when it is cut off or too small to be one.
std::uint32_t l4_header_len(const Frame& frame, const Layers& l) noexcept {
  if (l.proto == kProtoUdp) return sizeof(UdpHeader);
  const auto tcp = read_at<TcpHeader>(frame.head_bytes(), l.l4);
  if (!tcp || tcp->header_len() < sizeof(TcpHeader)) return 0;
  return static_cast<std::uint32_t>(tcp->header_len());
}

/// Holds the segmentation against the frame and finds the payload.
bool gso_fits(const Frame& frame, Layers& l) noexcept {
  const std::uint32_t size = frame.offload.gso_size;
  if (!gso_type_fits(frame.offload, l) || !ip_length_fits(frame, l) || size == 0) return false;
  const std::uint32_t header = l4_header_len(frame, l);
  l.payload = l.l4 + header;
  if (header == 0 || l.payload > frame.head_len) return false;
  return (frame.len - l.payload + size - 1) / size <= kMaxSegments;
}

/// ECN marks a segment whose CWR must not be repeated (virtio 1.2, 5.1.6.2), so it follows CWR.
std::uint8_t real_gso_type(const Frame& frame, const Layers& l) noexcept {
  if (l.proto != kProtoTcp) return kGsoUdpL4;
  const auto tcp = read_at<TcpHeader>(frame.head_bytes(), l.l4);
  const bool cwr = tcp && (tcp->flags & kTcpCwr);
  const int family = l.type == kEtherIpv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
  return static_cast<std::uint8_t>(family | (cwr ? VIRTIO_NET_HDR_GSO_ECN : 0));
}

/// Drivers differ in what they put into the length of a UDP datagram that is to be segmented.
void rebuild_udp_len(Frame& frame, const Layers& l) noexcept {
  auto udp = read_at<UdpHeader>(frame.head_bytes(), l.l4);
  if (!udp) return;
  udp->len.set(static_cast<std::uint16_t>(frame.len - l.l4));
  write_at(std::span(frame.head), l.l4, *udp);
}

void rebuild_gso(Frame& frame, const Layers& l, Offload& rebuilt) noexcept {
  if (l.proto == kProtoUdp) rebuild_udp_len(frame, l);
  if (frame.len - l.payload <= frame.offload.gso_size) return;
  rebuilt.gso_type = real_gso_type(frame, l);
  rebuilt.gso_size = frame.offload.gso_size;
  rebuilt.hdr_len = static_cast<std::uint16_t>(l.payload);
}

/// RFC 768: a UDP checksum of 0 means none, so one that comes to 0 is sent as its other form.
std::uint16_t as_sent(std::uint16_t checksum, bool udp) noexcept {
  return checksum == 0 && udp ? std::uint16_t{0xffff} : checksum;
}

/// The field holds the pseudo header's sum, so summing to the end gives the whole checksum.
void complete(std::span<std::uint8_t> bytes, const Offload& o) noexcept {
  const std::uint16_t sum = checksum_finish(checksum_add(0, bytes.subspan(o.csum_start)));
  const bool udp = o.csum_offset == kUdpChecksum;  // also behind IPv6 extension headers
  write_at(bytes, std::size_t{o.csum_start} + o.csum_offset, Be16(as_sent(sum, udp)));
}

/// TCP with nothing left to do; finds the payload.
bool whole_segment(const Frame& frame, Layers& l) noexcept {
  if (!frame.offload.none() || !locate(frame, l) || l.proto != kProtoTcp) return false;
  const std::uint32_t header = l4_header_len(frame, l);
  l.payload = l.l4 + header;
  return ip_length_fits(frame, l) && header != 0 && l.payload <= frame.len;
}

void reopen(Frame& frame, const Layers& l) noexcept {
  frame.offload = {};
  leave_checksum(frame, l.l4, kTcpChecksum, pseudo_of(frame, l));
  // So that Linux keeps the payload in pages: a whole 64 KiB is hard to find in one piece.
  frame.offload.hdr_len = static_cast<std::uint16_t>(l.payload);
}

}  // namespace

bool locate(const Frame& frame, Layers& l) noexcept {
  const auto head = frame.head_bytes();
  if (!skip_tags(head, l)) return false;
  l.l4 = l.l3;
  if (l.type == kEtherIpv4) return skip_ipv4(head, l);
  if (l.type == kEtherIpv6) return skip_ipv6(head, l);
  if (l.type == kEtherArp) l.l4 = l.l3 + sizeof(ArpHeader);
  return true;
}

bool check_claims(Frame& frame) noexcept {
  if (frame.len > kMaxFrame) return false;
  Layers layers;
  if (!locate(frame, layers) || !csum_fits(frame, layers)) return false;
  Offload rebuilt;
  rebuilt.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  rebuilt.csum_start = frame.offload.csum_start;
  rebuilt.csum_offset = frame.offload.csum_offset;
  if (frame.offload.is_gso()) {
    if (!gso_fits(frame, layers)) return false;
    rebuild_gso(frame, layers, rebuilt);
  }
  frame.offload = rebuilt;
  return true;
}

std::uint32_t pseudo_of(const Frame& frame, const Layers& l) noexcept {
  const auto head = frame.head_bytes();
  const std::uint32_t len = frame.len - l.l4;
  if (l.type == kEtherIpv6)
    return pseudo_sum(read_at<Ipv6Header>(head, l.l3).value_or(Ipv6Header{}), l.proto, len);
  return pseudo_sum(read_at<Ipv4Header>(head, l.l3).value_or(Ipv4Header{}), l.proto, len);
}

std::uint32_t set_ip_length(std::span<std::uint8_t> head, const Layers& l, std::uint32_t len,
                            std::uint32_t ids) noexcept {
  const std::uint32_t l4_len = len - l.l4;
  if (l.type == kEtherIpv6) {
    auto ip = read_at<Ipv6Header>(head, l.l3).value_or(Ipv6Header{});
    ip.payload_len.set(static_cast<std::uint16_t>(l4_len));
    write_at(head, l.l3, ip);
    return pseudo_sum(ip, l.proto, l4_len);
  }
  auto ip = read_at<Ipv4Header>(head, l.l3).value_or(Ipv4Header{});
  ip.total_len.set(static_cast<std::uint16_t>(len - l.l3));
  ip.id.set(static_cast<std::uint16_t>(ip.id.get() + ids));  // RFC 6864: each its own
  ip.checksum.set(0);
  write_at(head, l.l3, ip);
  ip.checksum.set(checksum_finish(checksum_add(0, head.subspan(l.l3, l.l4 - l.l3))));
  write_at(head, l.l3, ip);
  return pseudo_sum(ip, l.proto, l4_len);
}

std::uint16_t checksum_to_do(std::uint32_t pseudo) noexcept {
  return static_cast<std::uint16_t>(~checksum_finish(pseudo));
}

void leave_checksum(Frame& frame, std::uint32_t l4, std::uint32_t offset,
                    std::uint32_t pseudo) noexcept {
  write_at(std::span(frame.head), l4 + offset, Be16(checksum_to_do(pseudo)));
  frame.offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  frame.offload.csum_start = static_cast<std::uint16_t>(l4);
  frame.offload.csum_offset = static_cast<std::uint16_t>(offset);
}

bool reopen_checksum(Frame& frame) noexcept {
  Layers l;
  if (!whole_segment(frame, l)) return false;
  reopen(frame, l);
  return true;
}

bool ask_segmentation(Frame& frame, std::uint16_t size) noexcept {
  Layers l;
  if (!whole_segment(frame, l) || l.payload > frame.head_len || size == 0) return false;
  const std::uint32_t data = frame.len - l.payload;
  if ((data + size - 1) / size > kMaxSegments) return false;
  reopen(frame, l);
  if (data <= size) return true;
  frame.offload.gso_type = real_gso_type(frame, l);
  frame.offload.gso_size = size;
  return true;
}

bool finish_as_one(const Frame& frame, std::span<std::uint8_t> bytes) noexcept {
  Layers l;
  if (bytes.size() != frame.len || !locate(frame, l) || !csum_fits(frame, l)) return false;
  if (frame.offload.is_gso()) {
    if (l.proto != kProtoTcp || !gso_fits(frame, l)) return false;
    const std::uint32_t pseudo = set_ip_length(bytes, l, frame.len, 0);
    write_at(bytes, l.l4 + kTcpChecksum, Be16(checksum_to_do(pseudo)));
  }
  complete(bytes, frame.offload);
  return true;
}

Segmenter::Segmenter() : scratch_(std::make_unique<std::uint8_t[]>(kMaxFrame)) {}

/// Copies the frame, body and all: from here on no guest can change what is summed and sent.
bool Segmenter::linearize(const Frame& frame) noexcept {
  if (frame.len > kMaxFrame || frame.head_len != std::min(frame.len, Frame::kHead)) return false;
  std::uint64_t total = frame.head_len;
  for (const Part& p : frame.body) total += p.len;
  if (total != frame.len) return false;
  frame.copy_to(scratch_.get());
  len_ = frame.len;
  return true;
}

bool Segmenter::begin(const Frame& frame, const Offloads& can) noexcept {
  if (!linearize(frame)) return false;
  Layers layers;
  if (!locate(frame, layers) || !csum_fits(frame, layers)) return false;
  if (frame.offload.is_gso() && !gso_fits(frame, layers)) return false;
  layers_ = layers;
  ingress_ = frame.ingress;
  leave_csum_ = can.csum;
  gso_size_ = frame.offload.is_gso() ? frame.offload.gso_size : 0;
  index_ = 0;
  at_ = layers_.payload;
  if (gso_size_ == 0) complete({scratch_.get(), len_}, frame.offload);
  return at_ < len_;
}

bool Segmenter::next(Frame& out) noexcept {
  if (at_ >= len_) return false;
  out.ingress = ingress_;
  out.offload = {};
  const std::uint32_t chunk = gso_size_ ? std::min(gso_size_, len_ - at_) : len_ - at_;
  start_segment(out, chunk);
  if (gso_size_) {
    patch_l4(out);
    patch_checksum(out, set_ip_length(out.head, layers_, out.len, index_), chunk);
  }
  attach(out, at_);
  at_ += chunk;
  ++index_;
  return true;
}

/// The headers as the guest wrote them.
void Segmenter::start_segment(Frame& out, std::uint32_t chunk) const noexcept {
  out.len = layers_.payload + chunk;
  out.head_len = std::min(out.len, Frame::kHead);
  std::memcpy(out.head.data(), scratch_.get(), layers_.payload);
}

/// RFC 9293, 3.1: FIN and PSH speak of the last byte. RFC 3168, 6.1.2: CWR is said once.
void Segmenter::patch_l4(Frame& out) const noexcept {
  const std::span<std::uint8_t> head(out.head);
  if (layers_.proto == kProtoUdp) {
    auto udp = read_at<UdpHeader>(head, layers_.l4).value_or(UdpHeader{});
    udp.len.set(static_cast<std::uint16_t>(out.len - layers_.l4));
    write_at(head, layers_.l4, udp);
    return;
  }
  auto tcp = read_at<TcpHeader>(head, layers_.l4).value_or(TcpHeader{});
  tcp.seq.set(tcp.seq.get() + index_ * gso_size_);
  unsigned cleared = 0;
  if (at_ + gso_size_ < len_) cleared |= kTcpFin | kTcpPsh;
  if (index_ > 0) cleared |= kTcpCwr;
  tcp.flags = static_cast<std::uint8_t>(tcp.flags & ~cleared);
  write_at(head, layers_.l4, tcp);
}

/// The checksum itself, or for a port that completes it the pseudo header's sum and metadata.
void Segmenter::patch_checksum(Frame& out, std::uint32_t pseudo,
                               std::uint32_t chunk) const noexcept {
  const std::span<std::uint8_t> head(out.head);
  const std::uint32_t offset = checksum_offset(layers_).value_or(0);
  if (leave_csum_) return leave_checksum(out, layers_.l4, offset, pseudo);
  write_at(head, layers_.l4 + offset, Be16(checksum_to_do(pseudo)));
  // L4 headers have even lengths, so the payload may follow as a piece of its own.
  std::uint32_t sum = checksum_add(0, head.subspan(layers_.l4, layers_.payload - layers_.l4));
  sum = checksum_add(sum, {scratch_.get() + at_, chunk});
  const bool udp = layers_.proto == kProtoUdp;
  write_at(head, layers_.l4 + offset, Be16(as_sent(checksum_finish(sum), udp)));
}

/// Fills the head up with payload and borrows the rest from the scratch.
void Segmenter::attach(Frame& out, std::uint32_t from) noexcept {
  const std::uint32_t room = out.head_len - layers_.payload;
  std::memcpy(out.head.data() + layers_.payload, scratch_.get() + from, room);
  part_ = {scratch_.get() + from + room, out.len - out.head_len};
  out.body = part_.len ? std::span<const Part>(&part_, 1) : std::span<const Part>();
}

}  // namespace rp::sw
