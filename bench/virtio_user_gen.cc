// SPDX-License-Identifier: BSD-3-Clause
// virtio_user_gen.cc - drives a vhost-user switch from DPDK's virtio-user ports, one MAC each.
//
// One core sends and receives, and never sleeps. What comes is checked against what was sent; each
// run prints one line of JSON.
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include <memory>
#include <utility>

#include "bench/options.h"
#include "bench/probe.h"

namespace {

using namespace rp::bench;

constexpr std::uint16_t kBurst = 32;
constexpr std::size_t kGsoFrame = kEthernet + 65535;
constexpr std::uint16_t kGsoSegment = 1460;
constexpr std::size_t kGsoHeader = kEthernet + 20 + 20;
constexpr std::size_t kGsoChecksum = kEthernet + 20 + 16;
// A multiple of 256, so that the pattern is the same in each buffer but the first.
constexpr std::size_t kGsoBuffer = 4096;
// Moves the frame's start, so that the virtio header before it is in the same cache line, as it is
// in a Linux guest. The generator would otherwise be what limits the rate.
constexpr std::uint16_t kHeaderRoom = 16;
// Every so many frames, the whole frame is compared. A prime: it meets each buffer in time.
constexpr std::uint64_t kCompare = 61;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

void check(int result, const char* what) {
  if (result < 0) fail(std::string(what) + ": " + rte_strerror(-result));
}

struct Options {
  const char* paths[2] = {nullptr, nullptr};
  std::size_t size = 64;
  double seconds = 2;
  double warm_up = 0.3;
  std::uint64_t interval_us = 0;
  unsigned core = 1;
  unsigned queue_size = 1024;
  pid_t back_end = 0;
  bool packed = false, both = false, latency = false, gso = false, no_huge = false;
  bool in_order = true, mergeable = true;
};

struct PoolFree {
  void operator()(rte_mempool* p) const noexcept { rte_mempool_free(p); }
};
using Pool = std::unique_ptr<rte_mempool, PoolFree>;

Pool make_pool(const std::string& name, unsigned count, std::size_t room) {
  Pool pool(rte_pktmbuf_pool_create(name.c_str(), count, 256, kHeaderRoom,
                                    static_cast<std::uint16_t>(room + RTE_PKTMBUF_HEADROOM), 0));
  if (!pool) fail("no memory for " + name + ": " + rte_strerror(rte_errno));
  return pool;
}

/// Writes the same bytes into each buffer of a pool, once: a frame to send then takes a stamp only.
void fill(rte_mempool* pool, std::vector<std::uint8_t> bytes) {
  const auto one = [](rte_mempool*, void* arg, void* object, unsigned) {
    const auto& b = *static_cast<std::vector<std::uint8_t>*>(arg);
    std::memcpy(
        static_cast<std::uint8_t*>(static_cast<rte_mbuf*>(object)->buf_addr) + RTE_PKTMBUF_HEADROOM,
        b.data(), b.size());
  };
  rte_mempool_obj_iter(pool, one, &bytes);
}

/// A TCP/IPv4 frame whose checksum and segmentation are left to whoever receives it.
std::vector<std::uint8_t> make_gso_frame(unsigned from) {
  auto f = make_frame(kGsoFrame, from);
  f[12] = 8;
  f[13] = 0;
  rte_ipv4_hdr ip{};
  ip.version_ihl = 0x45;
  ip.total_length = rte_cpu_to_be_16(static_cast<std::uint16_t>(kGsoFrame - kEthernet));
  ip.time_to_live = 64;
  ip.next_proto_id = IPPROTO_TCP;
  ip.src_addr = rte_cpu_to_be_32(RTE_IPV4(192, 0, 2, 1 + from));
  ip.dst_addr = rte_cpu_to_be_32(RTE_IPV4(192, 0, 2, 2 - from));
  ip.hdr_checksum = rte_ipv4_cksum(&ip);
  rte_tcp_hdr tcp{};
  tcp.src_port = rte_cpu_to_be_16(1000);
  tcp.dst_port = rte_cpu_to_be_16(1001);
  tcp.data_off = 5 << 4;
  tcp.tcp_flags = RTE_TCP_ACK_FLAG;
  tcp.rx_win = 0xffff;
  tcp.cksum = rte_ipv4_phdr_cksum(&ip, 0);
  std::memcpy(&f[kEthernet], &ip, sizeof ip);
  std::memcpy(&f[kEthernet + sizeof ip], &tcp, sizeof tcp);
  return f;
}

/// One virtio-user port: sends its own frame, and expects the other port's.
class Port {
 public:
  Port(std::uint16_t id, const Options& o)
      : id_(id),
        gso_(o.gso),
        stamp_at_(o.gso ? kGsoHeader : kEthernet),
        frame_(o.gso ? make_gso_frame(id) : make_frame(o.size, id)),
        expected_(o.gso ? make_gso_frame(1 - id) : make_frame(o.size, 1 - id)) {
    const std::string name = std::to_string(id);
    // Enough for a full ring, what the caches hold back, and a burst.
    const std::size_t room = o.gso ? kGsoBuffer : 2048;
    const unsigned count = o.queue_size + 2048;
    receive_pool_ = make_pool("receive" + name, count, room);
    heads_ = make_pool("heads" + name, count, room);
    fill(heads_.get(), {frame_.begin(), frame_.begin() + static_cast<std::ptrdiff_t>(
                                                             std::min(room, frame_.size()))});
    if (gso_) {
      tails_ = make_pool("tails" + name, count, room);
      std::vector<std::uint8_t> pattern(room);
      for (std::size_t i = 0; i < room; ++i) pattern[i] = static_cast<std::uint8_t>(i);
      fill(tails_.get(), pattern);
    }
    start(o);
  }

  ~Port() {
    rte_pktmbuf_free_bulk(pending_ + first_, last_ - first_);
    rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
  }
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  std::uint64_t sent = 0, received = 0, errors = 0;

  /// Sends what the ring takes of one burst.
  unsigned send() {
    while (stamped_ != last_) set_stamp(pending_[stamped_++], {.seq = ++seq_});
    const unsigned n = hand_over();
    if (first_ == last_) prepare(kBurst);
    return n;
  }

  void send_one(const Stamp& stamp) {
    if (first_ == last_ && !prepare(1)) fail("no buffer to send");
    seq_ = stamp.seq;
    set_stamp(pending_[stamped_++], stamp);
    while (hand_over() == 0) {
    }
  }

  /// Takes and checks what came, one burst at most.
  unsigned receive(Stamp* stamp = nullptr) {
    rte_mbuf* burst[kBurst];
    const unsigned n = rte_eth_rx_burst(id_, 0, burst, kBurst);
    if (n == 0) return 0;
    for (unsigned i = 0; i < n; ++i) rte_prefetch0(rte_pktmbuf_mtod(burst[i], void*));
    for (unsigned i = 0; i < n; ++i) {
      const Stamp got = verify(burst[i]);
      if (stamp != nullptr) *stamp = got;
    }
    rte_pktmbuf_free_bulk(burst, n);
    received += n;
    return n;
  }

 private:
  void start(const Options& o) {
    rte_eth_conf conf{};
    if (gso_) {
      rte_eth_dev_info info{};
      check(rte_eth_dev_info_get(id_, &info), "port information");
      constexpr std::uint64_t tx =
          RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
      constexpr std::uint64_t rx = RTE_ETH_RX_OFFLOAD_TCP_LRO | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
      if ((info.tx_offload_capa & tx) != tx) fail("the back end takes no GSO frames");
      if ((info.rx_offload_capa & rx) != rx) fail("the back end sends no GSO frames");
      conf.txmode.offloads = tx;
      conf.rxmode.offloads = rx;
    }
    const int socket = rte_eth_dev_socket_id(id_);
    const unsigned node = socket < 0 ? 0 : static_cast<unsigned>(socket);
    const auto depth = static_cast<std::uint16_t>(o.queue_size);
    check(rte_eth_dev_configure(id_, 1, 1, &conf), "port configuration");
    check(rte_eth_rx_queue_setup(id_, 0, depth, node, nullptr, receive_pool_.get()),
          "receive queue");
    check(rte_eth_tx_queue_setup(id_, 0, depth, node, nullptr), "send queue");
    check(rte_eth_dev_start(id_), "port start");
  }

  /// Takes buffers for the next frames; stamps them not yet.
  bool prepare(unsigned n) {
    if (rte_pktmbuf_alloc_bulk(heads_.get(), pending_, n) != 0) return false;
    for (unsigned i = 0; i < n; ++i) {
      rte_mbuf* m = pending_[i];
      const std::size_t head = gso_ ? kGsoBuffer : frame_.size();
      m->data_len = static_cast<std::uint16_t>(head);
      m->pkt_len = static_cast<std::uint32_t>(head);
      if (gso_ && !append_tails(m)) {
        rte_pktmbuf_free_bulk(pending_ + i, n - i);
        n = i;
        break;
      }
      // The other core has read the line; it comes back while this one does something else.
      __builtin_prefetch(rte_pktmbuf_mtod(m, std::uint8_t*) + stamp_at_, 1);
    }
    first_ = stamped_ = 0;
    last_ = n;
    return n != 0;
  }

  bool append_tails(rte_mbuf* head) {
    rte_mbuf* tails[kGsoFrame / kGsoBuffer];
    if (rte_pktmbuf_alloc_bulk(tails_.get(), tails, std::size(tails)) != 0) return false;
    rte_mbuf* last = head;
    std::size_t at = kGsoBuffer;
    for (rte_mbuf* tail : tails) {
      tail->data_len = static_cast<std::uint16_t>(std::min(kGsoBuffer, kGsoFrame - at));
      at += tail->data_len;
      last->next = tail;
      last = tail;
    }
    head->nb_segs = 1 + std::size(tails);
    head->pkt_len = kGsoFrame;
    head->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_IPV4;
    head->l2_len = kEthernet;
    head->l3_len = sizeof(rte_ipv4_hdr);
    head->l4_len = sizeof(rte_tcp_hdr);
    head->tso_segsz = kGsoSegment;
    return true;
  }

  void set_stamp(rte_mbuf* m, const Stamp& stamp) const {
    std::memcpy(rte_pktmbuf_mtod(m, std::uint8_t*) + stamp_at_, &stamp, sizeof stamp);
  }

  unsigned hand_over() {
    const unsigned n =
        rte_eth_tx_burst(id_, 0, pending_ + first_, static_cast<std::uint16_t>(last_ - first_));
    first_ += n;
    sent += n;
    return n;
  }

  Stamp verify(rte_mbuf* m) {
    Stamp got;
    auto* data = rte_pktmbuf_mtod(m, std::uint8_t*);
    // Not done yet, and so no part of what arrives: testpmd leaves another start value there.
    if (gso_) std::memcpy(data + kGsoChecksum, &expected_[kGsoChecksum], 2);
    if (m->pkt_len != expected_.size() || m->data_len < stamp_at_ + sizeof got ||
        !same_header(data)) {
      ++errors;
      return got;
    }
    std::memcpy(&got, data + stamp_at_, sizeof got);
    // Frames may be dropped, but not doubled and not reordered.
    errors += got.magic != Stamp{}.magic || got.seq <= last_seq_;
    errors += gso_ && ((m->ol_flags & RTE_MBUF_F_RX_LRO) == 0 || m->tso_segsz != kGsoSegment);
    last_seq_ = got.seq;
    if (got.seq % kCompare == 0) compare(m, got);
    return got;
  }

  bool same_header(const std::uint8_t* data) const {
    // By a constant, so that it is no call for each frame.
    return std::memcmp(data, expected_.data(), kEthernet) == 0 &&
           (!gso_ || std::memcmp(data, expected_.data(), kGsoHeader) == 0);
  }

  void compare(rte_mbuf* m, const Stamp& stamp) {
    std::memcpy(&expected_[stamp_at_], &stamp, sizeof stamp);
    const std::uint8_t* at = expected_.data();
    for (; m != nullptr; at += m->data_len, m = m->next) {
      auto* data = rte_pktmbuf_mtod(m, std::uint8_t*);
      if (std::memcmp(data, at, m->data_len) != 0) {
        ++errors;
        return;
      }
      // All frames look alike: without this, what was never copied would look right the next time.
      std::memset(data, 0, m->data_len);
    }
  }

  std::uint16_t id_;
  bool gso_;
  std::size_t stamp_at_;
  std::vector<std::uint8_t> frame_, expected_;
  Pool receive_pool_, heads_, tails_;
  rte_mbuf* pending_[kBurst] = {};
  unsigned first_ = 0, stamped_ = 0, last_ = 0;
  std::uint64_t seq_ = 0, last_seq_ = 0;
};

void start_eal(const Options& o) {
  std::vector<std::string> args = {"virtio_user_gen", "--lcores=0@" + std::to_string(o.core),
                                   "--no-pci", "--no-telemetry", "--log-level=warning"};
  if (o.no_huge)
    args.insert(args.end(), {"--no-huge", "--no-shconf", "-m", "512"});
  else  // The memory table of vhost-user has few places: one file, not one for each page.
    args.insert(args.end(), {"--in-memory", "--single-file-segments"});
  for (unsigned i = 0; i < 2; ++i) {
    char vdev[256];
    std::snprintf(vdev, sizeof vdev,
                  "--vdev=net_virtio_user%u,path=%s,mac=02:00:00:00:00:%02x,queues=1,queue_size=%u,"
                  "packed_vq=%d,mrg_rxbuf=%d,in_order=%d",
                  i, o.paths[i], kMacs[i][5], o.queue_size, o.packed, o.mergeable, o.in_order);
    args.emplace_back(vdev);
  }
  std::vector<char*> argv;
  for (auto& a : args) argv.push_back(a.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
    fail(std::string("DPDK does not start: ") + rte_strerror(rte_errno));
  if (rte_eth_dev_count_avail() != 2) fail("the virtio-user ports were not made");
}

/// Sends a frame each way until both come: then the queues are on and both MACs are learned.
void until_frames_pass(Port& a, Port& b) {
  const std::uint64_t start = now_ns();
  std::uint64_t seq = 0;
  while (a.received < 8 || b.received < 8) {
    const std::uint64_t sent = now_ns();
    if (sent - start > 10'000'000'000) fail("no frames pass both ways within 10 s");
    ++seq;
    a.send_one({.seq = seq});
    b.send_one({.seq = seq});
    while (now_ns() - sent < 1'000'000) {
      a.receive();
      b.receive();
    }
  }
}

void drain(Port& a, Port& b) {
  for (std::uint64_t quiet = now_ns(); now_ns() - quiet < 20'000'000;)
    if (a.receive() + b.receive() != 0) quiet = now_ns();
}

/// Both ports' work until the time is over. Returns the share of time in turns that moved frames: a
/// generator near 1 is what limits the rate.
double run(Port& a, Port& b, double seconds, bool both) {
  std::uint64_t busy = 0;
  const std::uint64_t start = rte_rdtsc();
  std::uint64_t now = start;
  const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(seconds * 1e9);
  do {
    for (unsigned i = 0; i < 64; ++i) {
      unsigned moved = a.send() + b.receive();
      if (both) moved += b.send() + a.receive();
      const std::uint64_t before = std::exchange(now, rte_rdtsc());
      if (moved != 0) busy += now - before;
    }
  } while (now_ns() < end);
  return static_cast<double>(busy) / static_cast<double>(now - start);
}

/// What this core copies alone, in GB/s: 64 KiB blocks from and to as much memory as a ring has.
double memcpy_rate() {
  constexpr std::size_t kBlock = 65536, kBlocks = 64;
  std::vector<std::uint8_t> from(kBlock * kBlocks, 1), to(kBlock * kBlocks, 2);
  const std::uint64_t start = now_ns();
  std::uint64_t now = start, copied = 0;
  for (std::size_t i = 0; now - start < 100'000'000; i = (i + 1) % kBlocks, now = now_ns()) {
    std::memcpy(&to[i * kBlock], &from[i * kBlock], kBlock);
    asm volatile("" : : "r"(to.data()) : "memory");
    copied += kBlock;
  }
  return static_cast<double>(copied) / static_cast<double>(now - start);
}

void rate(Port& a, Port& b, const Options& o) {
  const double memcpy = o.gso ? memcpy_rate() : 0;
  run(a, b, o.warm_up, o.both);
  const Account account(o.back_end);
  const std::uint64_t start = now_ns();
  const std::uint64_t sent = a.sent + b.sent, received = a.received + b.received;
  const double busy = run(a, b, o.seconds, o.both);
  const double seconds = static_cast<double>(now_ns() - start) / 1e9;
  const std::uint64_t tx = a.sent + b.sent - sent, rx = a.received + b.received - received;
  const std::size_t size = o.gso ? kGsoFrame : o.size;
  std::printf("{\"tx\": %" PRIu64 ", \"rx\": %" PRIu64 ", \"seconds\": %.6f, ", tx, rx, seconds);
  std::printf("\"rx_per_s\": %.0f, \"gbyte_per_s\": %.3f, \"busy\": %.3f, ",
              static_cast<double>(rx) / seconds, static_cast<double>(rx * size) / seconds / 1e9,
              busy);
  account.print();
  if (o.gso) std::printf(", \"memcpy_gbyte_per_s\": %.3f", memcpy);
  drain(a, b);
  std::printf(", \"lost\": %" PRId64 ", \"errors\": %" PRIu64 "}\n",
              static_cast<std::int64_t>(a.sent + b.sent - a.received - b.received),
              a.errors + b.errors);
}

void latency(Port& a, Port& b, const Options& o) {
  const auto send = [&](const Stamp& s) { a.send_one(s); };
  const auto receive = [&]() -> std::optional<Stamp> {
    Stamp s;
    if (b.receive(&s) == 0) return std::nullopt;
    return s;
  };
  measure_latency(o.warm_up, o.interval_us * 1000, send, receive);
  drain(a, b);
  const Account account(o.back_end);
  Latencies found = measure_latency(o.seconds, o.interval_us * 1000, send, receive);
  std::printf("{");
  account.print();
  std::printf(", ");
  found.print();
  std::printf(", \"errors\": %" PRIu64 "}\n", a.errors + b.errors);
}

constexpr char kUsage[] =
    "usage: virtio_user_gen --path0 SOCKET --path1 SOCKET [options]\n"
    "  --size N         bytes of a frame (64)      --gso           64 KiB TCP frames instead\n"
    "  --seconds S      measured time (2)          --warm-up S     time before (0.3)\n"
    "  --packed         packed rings               --queue-size N  descriptors of a ring (1024)\n"
    "  --both           both directions            --latency       one frame at a time\n"
    "  --interval-us N  with --latency: a frame each N us\n"
    "  --core N         where to run (1)           --cpu-of PID    count the back end's CPU time\n"
    "  --no-huge        without huge pages         --no-in-order, --no-mergeable\n";

Options parse(int argc, char** argv) {
  Options o;
  parse_options(argc, argv,
                {{"path0", &o.paths[0]},
                 {"path1", &o.paths[1]},
                 {"size", &o.size},
                 {"gso", &o.gso},
                 {"seconds", &o.seconds},
                 {"warm-up", &o.warm_up},
                 {"packed", &o.packed},
                 {"queue-size", &o.queue_size},
                 {"both", &o.both},
                 {"latency", &o.latency},
                 {"interval-us", &o.interval_us},
                 {"core", &o.core},
                 {"cpu-of", &o.back_end},
                 {"no-huge", &o.no_huge},
                 {"no-in-order", &o.in_order},
                 {"no-mergeable", &o.mergeable}},
                kUsage);
  if (o.paths[0] == nullptr || o.paths[1] == nullptr) fail(kUsage);
  if (o.size < kEthernet + sizeof(Stamp) || o.size > 2048) fail("--size is 38 to 2048");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  int result = 0;
  try {
    const Options o = parse(argc, argv);
    start_eal(o);
    Port a(0, o), b(1, o);
    until_frames_pass(a, b);
    drain(a, b);
    // What was sent before the rings of both ports were on may be lost.
    for (Port* p : {&a, &b}) p->sent = p->received = 0;
    (o.latency ? latency : rate)(a, b, o);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "virtio_user_gen: %s\n", e.what());
    result = 1;
  }
  rte_eal_cleanup();
  return result;
}
