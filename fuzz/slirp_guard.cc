// SPDX-License-Identifier: BSD-3-Clause
// slirp_guard.cc - frames of two guests, in any order, before the guard of libslirp.
//
// Invariant: what it lets through begins where it was, is no longer than it was, and is sound to a
// naive second look: all lengths agree, no urgent pointer, no forbidden target.
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "fuzz/guest_frames.h"

namespace {

using namespace rp;
using fuzz::Input;

/// A folder that has nothing and can get nothing: it was removed.
int empty_folder() {
  static const Fd folder = [] {
    char name[] = "/tmp/rp-fuzz-XXXXXX";
    RP_CHECK(mkdtemp(name) != nullptr);
    Fd fd(open(name, O_PATH | O_DIRECTORY | O_CLOEXEC));
    RP_CHECK(fd && rmdir(name) == 0);
    return fd;
  }();
  return folder.get();
}

slirp::GuardConfig config(unsigned how) {
  slirp::GuardConfig c;
  c.ipv4 = how % 8 != 1;
  c.ipv6 = how % 8 != 2;
  c.net = test::ip4(10, 0, 2, 0);
  c.mask = test::ip4(255, 255, 255, 0);
  c.gateway = fuzz::kGateway;
  c.dns = test::ip4(10, 0, 2, 3);
  c.prefix6 = test::ip6("fec0::");
  c.gateway6 = test::ip6("fec0::2");
  c.dns6 = test::ip6("fec0::3");
  c.link_local_targets = how & 8;
  if (how & 16) c.tftp_root = empty_folder();
  return c;
}

/// Segments of up to 255 words end before seq_trap.h's number, at it and behind it.
constexpr fuzz::Conversation kNearTheTrap{0u - 160, 1000};

/// The window that such a connection has.
fuzz::Data announcement(unsigned how) {
  test::Tcp t;
  t.from = 80;
  t.to = 40000;
  t.seq = kNearTheTrap.ack;
  t.ack = kNearTheTrap.seq;
  t.flags = sw::kTcpAck;
  t.window = how & 128 ? 2000 : 65535;
  return test::ipv4(test::guest_mac(9), {fuzz::kGateway, fuzz::kGuest}, sw::kProtoTcp,
                    test::tcp(t, {}));
}

void check_passed(const fuzz::Data& f, const slirp::GuardConfig& c) {
  const std::size_t l4 = fuzz::check_lengths(f);
  const unsigned type = test::get16(f, 12);
  RP_CHECK(type == sw::kEtherIpv6 ? c.ipv6 : c.ipv4);
  if (type == sw::kEtherIpv4) {
    RP_CHECK(f[30] != 127);
    RP_CHECK(c.link_local_targets || f[30] != 169 || f[31] != 254);
  }
  if (l4 == 0) return;
  if (f[type == sw::kEtherIpv4 ? 23 : 20] == sw::kProtoTcp)
    RP_CHECK((f[l4 + 13] & sw::kTcpUrg) == 0 && test::get16(f, l4 + 18) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  const slirp::GuardConfig c = config(in.byte());
  slirp::Guard guard(c);
  Instant now = 1s;
  std::uint64_t counted = 0;
  for (int frames = 0; !in.empty() && frames < 200; ++frames) {
    const unsigned how = in.byte();
    const bool near = (how & 0x70) == 0x40;
    const fuzz::Data frame = fuzz::any_frame(in, near ? kNearTheTrap : fuzz::Conversation{});
    if (near && (how & 8)) guard.from_nat(announcement(how), now);
    // Of exactly its size, so that a sanitizer sees what is read behind it.
    fuzz::Data copy(frame.begin(), frame.end());
    std::span<std::uint8_t> span(copy);
    const auto refusal = guard.check(span, 1 + how % 3, now);
    RP_CHECK(span.data() == copy.data() && span.size() <= copy.size());
    RP_CHECK(refusal < slirp::Refusal::count);
    RP_CHECK(slirp::refusal_name(refusal) != "unknown");
    counted += refusal != slirp::Refusal::none;
    if (refusal == slirp::Refusal::none) check_passed({span.begin(), span.end()}, c);
    // The same bytes as if libslirp said them.
    if (how & 4) guard.from_nat(frame, now);
    if ((how & 0xf8) == 8) guard.forget(1 + how % 3);
    if (how & 128) now += std::chrono::milliseconds(in.u16());
    guard.fragments_pending(now);
  }
  std::uint64_t refused = 0;
  guard.report([&](std::string_view, std::uint64_t n) { refused += n; });
  RP_CHECK(refused == counted);
  guard.end_transfers([](std::span<const std::uint8_t> f) {
    RP_CHECK(fuzz::check_lengths({f.begin(), f.end()}) != 0);
  });
  return 0;
}
