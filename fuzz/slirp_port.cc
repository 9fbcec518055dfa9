// SPDX-License-Identifier: BSD-3-Clause
// slirp_port.cc - frames of a guest through guard and libslirp to a network that is not there.
//
// It runs in a network namespace of its own, in which nothing but 127.0.0.1 answers: there, port 80
// sends back what it gets. Where no namespace can be had, the NAT is restricted, and opens nothing.
// Invariant: whatever comes back to the guest has lengths and checksums that are right.
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/signal_guard.h"
#include "fuzz/guest_frames.h"
#include "slirp/slirp_port.h"
#include "switch/offload.h"

namespace {

using namespace rp;
using fuzz::Data;
using fuzz::Input;

class Host {
 public:
  Host() : alone(unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0) {
    if (!alone) return;
    const Fd any(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq up{};
    std::strcpy(up.ifr_name, "lo");
    up.ifr_flags = IFF_UP | IFF_RUNNING;
    RP_CHECK(ioctl(any.get(), SIOCSIFFLAGS, &up) == 0);
    listener_.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(80);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    RP_CHECK(bind(listener_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
    RP_CHECK(listen(listener_.get(), 16) == 0);
  }
  void serve() {
    if (!alone) return;
    if (Fd s{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)}) {
      // Without TIME_WAIT, of which a long run has more than there are ports.
      const linger now{1, 0};
      setsockopt(s.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      streams_.push_back(std::move(s));
    }
    for (const Fd& s : streams_) {
      char bytes[2048];
      const ssize_t n = recv(s.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (n > 0)
        static_cast<void>(::send(s.get(), bytes, static_cast<std::size_t>(n), MSG_NOSIGNAL));
    }
  }
  void hang_up() { streams_.clear(); }

  const bool alone;

 private:
  Fd listener_;
  std::vector<Fd> streams_;
};

/// The sum over a pseudo header and L4, which is 0 where the checksum is right.
void check_checksum(const Data& f, std::size_t l4) {
  const bool v4 = test::get16(f, 12) == sw::kEtherIpv4;
  const unsigned proto = v4 ? f[23] : f[20];
  // RFC 768: a UDP checksum of 0 means none.
  if (proto == sw::kProtoUdp && v4 && test::get16(f, l4 + 6) == 0) return;
  Data whole;
  if (!(v4 && proto == sw::kProtoIcmp)) {
    const auto from = f.begin() + (v4 ? 26 : 22);
    whole.assign(from, from + (v4 ? 8 : 32));
    test::append(whole, Be32(static_cast<std::uint32_t>(f.size() - l4)));
    test::append(whole, Be32(proto));
  }
  whole.insert(whole.end(), f.begin() + static_cast<std::ptrdiff_t>(l4), f.end());
  RP_CHECK(test::naive_checksum(whole) == 0);
}

class Session {
 public:
  Session(Host& host, Input& in)
      : host_(host), port_(slirp::make_config(options(in.byte())), Log(), now_) {}

  void run(Input& in) {
    for (int frames = 0; !in.empty() && frames < 100; ++frames) {
      const unsigned how = in.byte();
      const Data frame = fuzz::any_frame(in, said_);
      send(frame, 1 + (how & 1), how & 8 ? claim(in) : sw::Offload{}, how & 0x20);
      if (how & 2) now_ += std::chrono::milliseconds(in.u16());
      if ((how & 0xf0) == 0x10) port_.forget(1 + (how & 1));
      turns(how & 4 ? 4 : 1);
    }
    turns(4);
    host_.hang_up();
    turns(2);
  }

 private:
  using Options = std::vector<std::pair<std::string, std::string>>;
  Options options(unsigned how) {
    Options o;
    if (!host_.alone || (how & 7) == 7) o.emplace_back("restrict", "on");
    if (how & 8) o.emplace_back("mtu", how & 64 ? "65521" : "9000");
    if (how & 16) o.emplace_back("ipv6", "off");
    if (how & 32) o.emplace_back("tftp", "/usr/share/misc");
    o.emplace_back("hostname", "guest");
    o.emplace_back("dnssearch", "example.org");
    o.emplace_back("max-flows", "8");
    return o;
  }
  static sw::Offload claim(Input& in) {
    sw::Offload o;
    const unsigned what = in.byte();
    o.flags = what & 1 ? VIRTIO_NET_HDR_F_DATA_VALID : VIRTIO_NET_HDR_F_NEEDS_CSUM;
    o.gso_type = what & 2 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE;
    o.gso_size = static_cast<std::uint16_t>(1 + what);
    o.csum_start = what & 4 ? 54 : 34;
    o.csum_offset = what & 8 ? 6 : 16;
    return o;
  }
  /// As the switch hands frames over: checked, and finished as far as the port wants them to be.
  void send(Data bytes, sw::PortId from, const sw::Offload& claim, bool own) {
    if (bytes.empty()) return;
    const Data before = bytes;
    sw::Frame f;
    sw::Part part;
    sw::make_frame(f, part, bytes);
    f.ingress = from;
    f.offload = claim;
    if (own) f.own = bytes.data();
    if (!sw::check_offload(f) || !sw::Segmenter::passes(f.offload, port_.offloads())) return;
    const sw::Frame* const one = &f;
    port_.send({&one, 1}, now_);
    // Other receivers read the body.
    RP_CHECK(std::equal(bytes.begin() + f.head_len, bytes.end(), before.begin() + f.head_len));
  }
  void turns(int n) {
    for (; n > 0; --n) {
      port_.flush(now_);
      receive();
      host_.serve();
      port_.arm(now_);
      port_.disarm();
      now_ += 1ms;
    }
  }
  void receive() {
    static sw::Burst burst;
    burst.on_hand_over([this] { hear_all(burst); });
    for (int bursts = 0; bursts < 8; ++bursts) {
      port_.receive(burst, now_);
      const bool nothing = burst.empty();
      hear_all(burst);
      port_.release();
      if (nothing) return;
    }
  }
  void hear_all(sw::Burst& burst) {
    for (const sw::Frame& f : burst.frames()) {
      Data bytes(f.len);
      f.copy_to(bytes.data());
      hear(bytes);
    }
    burst.clear();
  }
  void hear(const Data& f) {
    const std::size_t l4 = fuzz::check_lengths(f);
    if (l4 == 0) return;
    check_checksum(f, l4);
    if (f[test::get16(f, 12) == sw::kEtherIpv4 ? 23 : 20] != sw::kProtoTcp) return;
    const auto tcp = *read_at<sw::TcpHeader>(f, l4);
    const auto more = f.size() - l4 - tcp.header_len() + ((tcp.flags & sw::kTcpSyn) ? 1 : 0);
    said_.ack = tcp.seq.get() + static_cast<std::uint32_t>(more);
    said_.seq = tcp.ack.get();
  }

  Host& host_;
  const SignalsBlocked no_signals_;
  Instant now_ = 1000s;
  slirp::SlirpPort port_;
  fuzz::Conversation said_;
};

}  // namespace

// libslirp loses at its end what waits for an ARP answer. Only the slow unwinder sees past GLib to
// who allocated.
extern "C" const char* __asan_default_options() {
  return "fast_unwind_on_malloc=0";
}
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libslirp.so";
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Host host;
  Input in(data, size);
  Session(host, in).run(in);
  return 0;
}
