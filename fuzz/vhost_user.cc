// SPDX-License-Identifier: BSD-3-Clause
// vhost_user.cc - any vhost-user messages in any order with any descriptors, whole or in pieces,
// from a front end whose guest breaks its rings; then another front end comes that keeps the rules.
//
// Invariants: the second one is served byte for byte; with both gone no descriptor is left, and no
// more of the process's memory is mapped than before.
#include <sys/epoll.h>

#include "fuzz/harness.h"
#include "tests/backend/vhost_user/front_end.h"

namespace {

using namespace rp::backend;
using namespace rp::backend::vhost_user;
using rp::Fd;
using rp::fuzz::Input;

constexpr std::size_t kPairs = 2;

Guest::Options options() {
  Guest::Options o;
  o.pairs = kPairs;
  o.queue_size = 16;
  o.arena = std::size_t{1} << 15;
  return o;
}

/// A listening socket without a path, so that nothing is left behind.
struct Listener {
  Listener() : fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    // Linux finds an abstract name.
    RP_CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a.sun_family) == 0);
    RP_CHECK(listen(fd.get(), 4) == 0);
    socklen_t size = sizeof address;
    RP_CHECK(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    length = size;
  }
  Fd dial() const {
    Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    RP_CHECK(connect(s.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0);
    return s;
  }
  Fd fd;
  sockaddr_un address{};
  socklen_t length = 0;
};

class Session {
 public:
  Session(Guest& guest, const Listener& listener)
      : guest_(guest), listener_(listener), back_(port_options(listener)) {
    for (auto& q : guest_.queues) q->reset();
    int ends[2];
    RP_CHECK(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pool_.emplace_back(ends[0]);
    pool_.emplace_back(ends[1]);
    pool_.push_back(make_eventfd());
    pool_.emplace_back(eventfd(0, EFD_CLOEXEC));
    pool_.push_back(make_memfd(4096));
    pool_.push_back(make_memfd(0x3000 + guest.region.size));
    pool_.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
    pool_.emplace_back(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    pool_.emplace_back(epoll_create1(EPOLL_CLOEXEC));
  }

  void hostile(Input& in) {
    FrontEnd front(Wire(listener_.dial(), back_.pump()), guest_);
    for (int steps = 0; !in.empty() && steps < 64; ++steps) step(front, in);
    front.vanish();
  }
  void honest() {
    for (auto& q : guest_.queues) q->reset();
    back_.run();
    back_.take();
    FrontEnd front(Wire(listener_.dial(), back_.pump()), guest_);
    front.start();
    const Bytes frame = pattern(600, 7);
    guest_.out().offer(frame);
    guest_.out().publish();
    back_.run();
    RP_CHECK(back_.take() == std::vector<Bytes>{frame});
    guest_.in().refill(1024);
    RP_CHECK(back_.deliver(frame));
    const auto got = guest_.in().take();
    RP_CHECK(got && got->bytes == frame);
    front.vanish();
    back_.run();
  }

 private:
  static PortOptions port_options(const Listener& l) {
    PortOptions o;
    o.fd = l.fd.get();
    o.queues = kPairs;
    return o;
  }

  void step(FrontEnd& front, Input& in) {
    GuestQueue& q = *guest_.queues[in.below(2 * kPairs)];
    const unsigned what = in.below(16);
    try {
      switch (what) {
        case 0:
          return front.negotiate(in.flag() ? kFeatures : FrontEnd::kWanted);
        case 1:
          front.set_memory();
          return;
        case 2:
          return front.start_rings();
        case 3:
          q.offer_buffers({in.byte() + 1u});
          q.publish();
          return;
        case 4:
          q.offer(pattern(14 + in.byte(), 3));
          q.publish();
          return;
        case 5: {
          const std::uint64_t at[] = {guest_.options.address + Guest::kArenas, 0, in.u16()};
          q.driver.set_desc(in.byte() % 16, {at[in.below(3)], in.u16(), in.byte(), in.byte()});
          return;
        }
        case 6:
          q.driver.set_avail_idx(static_cast<std::uint16_t>(q.driver.used_idx() + in.below(20)));
          signal_eventfd(q.kick);
          return;
        case 7:
          back_.deliver(pattern(14 + in.u16() % 1000, 2));
          return;
        case 8:
          back_.turn();
          back_.port->arm({});
          return;
        default:
          message(front.wire, in);
      }
    } catch (const rp::Error&) {
      // The back end refuses or has closed.
    } catch (const std::out_of_range&) {
    }
  }

  std::uint64_t user(Input& in) {
    const std::uint64_t base = in.flag() ? guest_.options.user : guest_.options.address;
    return in.flag() ? base + in.u16() * std::uint64_t{16} : in.u64();
  }
  MemoryRegion any_region(Input& in) {
    MemoryRegion r = guest_.region;
    const unsigned how = in.byte();
    if (how & 1) r.guest_address = how & 2 ? in.u64() : r.guest_address + in.u16() * 0x1000ull;
    if (how & 4) r.size = how & 8 ? in.u64() : in.u16();
    if (how & 16) r.user_address = in.u64();
    if (how & 32) r.mmap_offset = how & 64 ? in.u64() : in.u16();
    return r;
  }
  std::uint32_t any_count(Input& in) {
    static constexpr std::uint32_t kSome[] = {0, 1, 2, 3, 16, 256, 1024, 1025, 65535, 65536};
    const unsigned n = in.byte();
    return n < std::size(kSome) ? kSome[n] : n < 128 ? 16 : in.u32();
  }
  static std::uint32_t any_index(Input& in) {
    const unsigned n = in.byte();
    return n < 250 ? n % (2 * kPairs) : n < 253 ? n : in.u32();
  }
  template <typename T>
  static Bytes bytes_of(const T& t, std::size_t n = sizeof(T)) {
    Bytes b(sizeof t);
    std::memcpy(b.data(), &t, sizeof t);
    b.resize(n);
    return b;
  }

  Bytes payload_of(Request r, Input& in) {
    switch (r) {
      case Request::set_features:
        return bytes_of(in.flag() ? in.u64() & kFeatures : FrontEnd::kWanted & kFeatures);
      case Request::set_protocol_features:
        return bytes_of(in.flag() ? in.u64() & kProtocolFeatures : FrontEnd::kWantedProtocol);
      case Request::set_mem_table: {
        MemoryTable t{};
        t.count = in.below(10);
        const std::size_t n = std::min(t.count, kTableRegions);
        for (std::size_t i = 0; i < n; ++i) t.regions[i] = any_region(in);
        return bytes_of(t, offsetof(MemoryTable, regions) + n * sizeof(MemoryRegion));
      }
      case Request::add_mem_reg:
      case Request::rem_mem_reg:
        return bytes_of(SingleRegion{0, any_region(in)});
      case Request::set_log_base:
        return bytes_of(LogArea{in.flag() ? 4096 : in.u64(), in.flag() ? 0 : in.u64()});
      case Request::set_vring_num:
      case Request::set_vring_base:
      case Request::get_vring_base:
      case Request::set_vring_enable:
        return bytes_of(VringState{any_index(in), any_count(in)});
      case Request::set_vring_addr: {
        const std::uint32_t i = any_index(in);
        const auto& w = guest_.queues[i % (2 * kPairs)]->driver.where();
        VringAddr a{i, 0, guest_.user(w.desc), guest_.user(w.used), guest_.user(w.avail), w.used};
        const unsigned how = in.byte();
        a.flags = how & 1;
        for (std::uint64_t* p : {&a.desc, &a.used, &a.avail, &a.log})
          if (how & 128 && in.flag()) *p = user(in);
        return bytes_of(a);
      }
      case Request::set_vring_kick:
      case Request::set_vring_call:
      case Request::set_vring_err:
        return bytes_of(std::uint64_t{any_index(in)} | (in.flag() ? kVringNoFd : 0));
      case Request::get_inflight_fd:
      case Request::set_inflight_fd: {
        const InflightDescription d{in.flag() ? 0x2000 : in.u64(), in.flag() ? 0 : in.u64(),
                                    static_cast<std::uint16_t>(in.byte()),
                                    static_cast<std::uint16_t>(any_count(in)), 0};
        return bytes_of(d, in.flag() ? sizeof d : kInflightBytes);
      }
      case Request::set_doorbell:
        return bytes_of(DoorbellPlace{user(in)});
      default: {
        const Bytes b = in.bytes(in.flag() ? 8 : in.byte());
        return b;
      }
    }
  }

  void message(Wire& wire, Input& in) {
    static constexpr std::uint32_t kRequests = 44;
    const std::uint32_t n = in.byte();
    const auto request = n % kRequests == 0 ? Request::set_doorbell : Request{n % kRequests};
    const unsigned how = in.byte();
    const Bytes payload = payload_of(request, in);
    Header h{static_cast<std::uint32_t>(request), kVersion | (how & 1 ? kNeedReply : 0),
             static_cast<std::uint32_t>(payload.size())};
    if ((how & 0x30) == 0x30) h.flags = in.u32();
    if ((how & 0xc0) == 0xc0) h.size = in.u16();
    std::vector<int> fds;
    for (unsigned fd_n = how & 2 ? 1 : how & 4 ? in.below(10) : 0; fd_n > 0; --fd_n)
      fds.push_back(any_fd(in));
    const Bytes all = Wire::encode(h, payload.data(), payload.size());
    const std::size_t cut = how & 8 ? in.byte() % all.size() : 0;
    if (cut) {
      wire.send_bytes(std::span(all).first(cut), fds);
      back_.turn();
      fds.clear();
    }
    wire.send_bytes(std::span(all).subspan(cut), fds);
    back_.turn();
    // What is said between must not be taken for an answer to what comes next.
    std::array<std::uint8_t, 1024> heard;
    while (recv(wire.fd(), heard.data(), heard.size(), MSG_DONTWAIT) > 0) {
    }
  }
  int any_fd(Input& in) {
    const std::size_t n = in.byte();
    if (n % 4 == 0) return guest_.file.get();
    const auto& q = guest_.queues[n % guest_.queues.size()];
    if (n % 4 == 1) return (n & 16 ? q->kick : n & 32 ? q->call : q->err).get();
    return pool_[n % pool_.size()].get();
  }

  Guest& guest_;
  const Listener& listener_;
  DirectPort back_;
  std::vector<Fd> pool_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest(options());
  static const Listener listener;
  const Footprint before;
  {
    Input in(data, size);
    Session session(guest, listener);
    session.hostile(in);
    session.honest();
  }
  const Footprint after;
  RP_CHECK(after.fds == before.fds && after.mappings == before.mappings);
  return 0;
}
