// SPDX-License-Identifier: BSD-3-Clause
// front_end.h - the emulator's side of vhost-user, for tests, fuzzers and benchmarks.
//
// Three layers, each usable alone: Wire says any bytes with any descriptors; Guest is memory and
// the drivers of its rings; FrontEnd joins them and speaks the protocol as an emulator does. The
// back end runs on a thread of its own, or on the caller's: then Wire's pump gives it its turns
// while an answer is waited for.
// What goes wrong here throws: nothing below needs a test framework.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backend/vhost_user/features.h"
#include "backend/vhost_user/port.h"
#include "tests/backend/frames.h"
#include "tests/backend/mock_driver.h"

namespace rp::backend::vhost_user {

/// Longer than anything takes, even sanitized on a busy machine.
inline constexpr std::chrono::seconds kPatience{20};

inline Fd make_eventfd() {
  Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw_errno("eventfd", errno);
  return fd;
}
inline void signal_eventfd(const Fd& fd) {
  const std::uint64_t one = 1;
  if (::write(fd.get(), &one, sizeof one) != sizeof one) throw_errno("kick", errno);
}
/// Takes what was signalled; 0: nothing.
inline std::uint64_t take_signals(const Fd& fd) {
  std::uint64_t count = 0;
  return ::read(fd.get(), &count, sizeof count) == sizeof count ? count : 0;
}
inline std::pair<Fd, Fd> make_socketpair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) throw_errno("sockets", errno);
  return {Fd(fds[0]), Fd(fds[1])};
}

/// What this process holds, now.
struct Footprint {
  std::size_t fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  std::size_t mappings = guest_mappings();

 private:
  static std::size_t entries(const char* folder) {
    const std::filesystem::directory_iterator all(folder);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
  /// Of memory that has a descriptor; the allocator's own come and go.
  static std::size_t guest_mappings() {
    std::ifstream maps("/proc/self/maps");
    std::size_t n = 0;
    for (std::string line; std::getline(maps, line);) n += line.find("memfd:") != line.npos;
    return n;
  }
};

/// One connection, from the emulator's side.
class Wire {
 public:
  Wire() = default;
  explicit Wire(Fd socket, std::function<void()> pump = {})
      : socket_(std::move(socket)), pump_(std::move(pump)) {}

  /// Throws Error when nobody listens there.
  static Wire dial(const std::string& path, std::function<void()> pump = {}) {
    Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un a = unix_address(path, "front end");
    if (connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0)
      throw_errno("connecting to " + path, errno);
    return Wire(std::move(s), std::move(pump));
  }

  int fd() const noexcept { return socket_.get(); }
  void close() noexcept { socket_.reset(); }
  explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
  /// Lets the back end work, when it runs on this thread.
  void pump() const {
    if (pump_) pump_();
  }

  /// Any bytes, any descriptors beside the first. False: the back end has closed.
  bool send_bytes(std::span<const std::uint8_t> bytes, std::span<const int> fds = {}) {
    while (!bytes.empty()) {
      const ssize_t n = send_some(bytes, fds);
      if (n > 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(n));
        fds = {};
      } else if (errno == EAGAIN) {
        if (!wait(POLLOUT)) return false;
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }
  bool send(const Header& h, const void* payload, std::size_t bytes,
            std::span<const int> fds = {}) {
    return send_bytes(encode(h, payload, bytes), fds);
  }
  /// A message as the specification wants it.
  bool send(Request request, const void* payload, std::size_t bytes, std::span<const int> fds = {},
            std::uint32_t flags = kVersion) {
    const Header h{static_cast<std::uint32_t>(request), flags, static_cast<std::uint32_t>(bytes)};
    return send(h, payload, bytes, fds);
  }
  static Bytes encode(const Header& h, const void* payload, std::size_t bytes) {
    Bytes all(sizeof h);
    std::memcpy(all.data(), &h, sizeof h);
    const auto* more = static_cast<const std::uint8_t*>(payload);
    all.insert(all.end(), more, more + bytes);
    return all;
  }

  struct Answer {
    Header header{};
    Bytes payload;
  };
  /// The next answer; nothing when the back end has closed or says nothing for `patience`.
  std::optional<Answer> read(std::chrono::milliseconds patience = kPatience) {
    Answer a;
    if (!read_bytes(&a.header, sizeof a.header, patience)) return std::nullopt;
    a.payload.resize(std::min<std::uint32_t>(a.header.size, kMaxPayload));
    if (!read_bytes(a.payload.data(), a.payload.size(), patience)) return std::nullopt;
    return a;
  }
  /// read() of an answer that a descriptor may come with.
  std::optional<Answer> read_fd(Fd& fd) {
    if (!wait(POLLIN)) return std::nullopt;
    Answer a;
    iovec v{&a.header, sizeof a.header};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    if (recvmsg(socket_.get(), &m, MSG_CMSG_CLOEXEC | MSG_WAITALL) != ssize_t{sizeof a.header})
      return std::nullopt;
    if (const cmsghdr* c = CMSG_FIRSTHDR(&m); c && c->cmsg_type == SCM_RIGHTS) {
      int got;
      std::memcpy(&got, CMSG_DATA(c), sizeof got);
      fd = Fd(got);
    }
    a.payload.resize(std::min<std::uint32_t>(a.header.size, kMaxPayload));
    if (!read_bytes(a.payload.data(), a.payload.size(), kPatience)) return std::nullopt;
    return a;
  }
  /// True once the back end has closed the connection.
  bool closed(std::chrono::milliseconds patience = kPatience) {
    std::uint8_t byte;
    while (socket_) {
      const ssize_t n = recv(socket_.get(), &byte, 1, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return true;
      if (n < 0 && !wait(POLLIN, patience)) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kMostFds = 253;  ///< SCM_MAX_FD

  ssize_t send_some(std::span<const std::uint8_t> bytes, std::span<const int> fds) {
    iovec v{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMostFds)> control{};
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    if (!fds.empty()) {
      m.msg_control = control.data();
      m.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
    }
    return sendmsg(socket_.get(), &m, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  bool read_bytes(void* to, std::size_t want, std::chrono::milliseconds patience) {
    auto* out = static_cast<std::uint8_t*>(to);
    while (want > 0) {
      const ssize_t n = recv(socket_.get(), out, want, MSG_DONTWAIT);
      if (n > 0) {
        out += n;
        want -= static_cast<std::size_t>(n);
      } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        return false;
      } else if (!wait(POLLIN, patience)) {
        return false;
      }
    }
    return true;
  }
  /// Until the socket is ready, the back end pumped meanwhile.
  bool wait(short events, std::chrono::milliseconds patience = kPatience) const {
    const auto until = std::chrono::steady_clock::now() + patience;
    // A back end on this thread answers within a few turns, or never.
    for (int turns = 0; pump_ && turns < 200; ++turns) {
      pollfd p{socket_.get(), events, 0};
      if (poll(&p, 1, 0) == 1) return true;
      pump_();
    }
    if (pump_) return false;
    pollfd p{socket_.get(), events, 0};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    return poll(&p, 1, static_cast<int>(left.count())) == 1;
  }

  Fd socket_;
  std::function<void()> pump_;
};

/// One ring of a guest with its driver, its buffers and its three descriptors.
class GuestQueue {
 public:
  struct Got {
    virtio_net_hdr_v1 header{};
    Bytes bytes;
  };

  /// The ring lies at `base`; [arena, arena + arena_size) are its buffers.
  GuestQueue(const GuestMemory& memory, std::uint16_t size, std::uint64_t base, std::uint64_t arena,
             std::size_t arena_size)
      : driver(memory, contiguous_ring(size, base)), arena_(arena), arena_size_(arena_size) {
    std::memset(driver.at<std::uint8_t>(arena_), kCanary, arena_size_);
  }

  MockDriver driver;
  Fd kick = make_eventfd(), call = make_eventfd(), err = make_eventfd();
  std::uint32_t header = 12;  ///< bytes of virtio_net_hdr: as negotiated
  bool event_idx = true;      ///< as negotiated

  // As a queue to send on.

  /// Offers header and frame in pieces of these sizes, the last taking what is left.
  std::uint16_t offer(std::span<const std::uint8_t> frame, const sw::Offload& o = {},
                      std::span<const std::uint32_t> cuts = {}) {
    const virtio_net_hdr_v1 h = sw::header_of(o);
    Bytes whole(header);
    std::memcpy(whole.data(), &h, header);
    whole.insert(whole.end(), frame.begin(), frame.end());
    return offer_raw(whole, cuts);
  }
  std::uint16_t offer_raw(std::span<const std::uint8_t> bytes,
                          std::span<const std::uint32_t> cuts = {}) {
    const auto size = static_cast<std::uint32_t>(bytes.size());
    if (next_ + size > arena_size_) next_ = 0;
    const std::uint64_t at = arena_ + next_;
    driver.write(at, bytes);
    next_ += size;
    std::vector<Piece> pieces;
    std::uint32_t done = 0;
    for (std::uint32_t cut : cuts) {
      if (done == size) break;
      pieces.push_back({at + done, std::min(cut, size - done)});
      done += pieces.back().len;
    }
    if (done < size) pieces.push_back({at + done, size - done});
    return driver.chain(pieces);
  }

  // As a queue to receive on.

  /// Offers one chain of buffers of these sizes, canaries around each.
  std::uint16_t offer_buffers(std::span<const std::uint32_t> sizes) {
    std::vector<Piece> pieces;
    for (std::uint32_t size : sizes) {
      if (next_ + size + 2 * kGap > arena_size_) next_ = 0;
      pieces.push_back({arena_ + next_ + kGap, size, true});
      next_ += size + kGap;
    }
    const std::uint16_t head = driver.chain(pieces);
    chains_[head] = std::move(pieces);
    return head;
  }
  std::uint16_t offer_buffers(std::initializer_list<std::uint32_t> sizes) {
    return offer_buffers(std::span<const std::uint32_t>(sizes.begin(), sizes.size()));
  }
  /// Offers buffers of `size` bytes until `most` wait or there are no more descriptors.
  void refill(std::uint32_t size = 2048, std::size_t most = SIZE_MAX) {
    most = std::min<std::size_t>(most, arena_size_ / (size + kGap) - 1);
    while (driver.free_descriptors() > 0 && driver.in_flight() < most) offer_buffers({size});
    publish();
  }
  /// The next frame: num_buffers chains where buffers are merged. Throws when a chain is missing or
  /// says that more was written to it than it holds.
  std::optional<Got> take() {
    Got got;
    Bytes all;
    std::uint32_t chains = 1;
    for (std::uint32_t i = 0; i < chains; ++i) {
      MockDriver::Used used{};
      if (!driver.reap(used)) {
        if (i == 0) return std::nullopt;
        throw Error(Errc::invalid, "a merged buffer is missing");
      }
      take_chain(used, all);
      if (i == 0 && all.size() < header)
        throw Error(Errc::invalid, "a buffer without a whole header");
      if (i == 0) std::memcpy(&got.header, all.data(), header);
      if (header == 12) chains = got.header.num_buffers;
    }
    all.erase(all.begin(), all.begin() + std::min<std::ptrdiff_t>(header, std::ssize(all)));
    got.bytes = std::move(all);
    ask_for_call();
    return got;
  }
  /// True when no byte of the buffers has changed but what was taken.
  bool untouched() const {
    const auto* p = driver.at<std::uint8_t>(arena_);
    return p[0] == kCanary && std::memcmp(p, p + 1, arena_size_ - 1) == 0;
  }

  /// Makes what was offered visible, and kicks when the device asked for it. True: it did.
  bool publish() {
    const bool asked = driver.publish(event_idx);
    if (asked) signal_eventfd(kick);
    return asked;
  }
  std::size_t reap_all() {
    MockDriver::Used used{};
    std::size_t n = 0;
    while (driver.reap(used)) ++n;
    ask_for_call();
    return n;
  }
  /// As a driver that loads anew: an empty ring from index 0.
  void reset(std::uint16_t start = 0) {
    driver.reset(start);
    chains_.clear();
    next_ = 0;
    std::memset(driver.at<std::uint8_t>(arena_), kCanary, arena_size_);
  }

 private:
  /// As a driver that sleeps until the next completion.
  void ask_for_call() {
    if (event_idx)
      driver.set_used_event(static_cast<std::uint16_t>(driver.next() - driver.in_flight()));
  }

  static constexpr std::uint8_t kCanary = 0xc5;
  static constexpr std::uint32_t kGap = 16;

  /// Moves out what used.len claims, leaving canaries.
  void take_chain(const MockDriver::Used& used, Bytes& all) {
    std::uint32_t left = used.len;
    for (const Piece& p : chains_[static_cast<std::uint16_t>(used.id)]) {
      const std::uint32_t n = std::min(left, p.len);
      auto* from = driver.at<std::uint8_t>(p.address);
      all.insert(all.end(), from, from + n);
      std::memset(from, kCanary, n);
      left -= n;
    }
    if (left != 0) throw Error(Errc::invalid, "used.len is more than the chain holds");
  }

  std::uint64_t arena_;
  std::size_t arena_size_;
  std::size_t next_ = 0;
  std::map<std::uint16_t, std::vector<Piece>> chains_;
};

/// A guest's memory, one region, and the rings in it. It outlives the connections of its emulator.
class Guest {
 public:
  struct Options {
    std::size_t pairs = 1;
    std::uint16_t queue_size = 256;
    std::size_t arena = std::size_t{1} << 20;  ///< bytes of buffers, of each ring
    std::uint64_t address = 0x4000'0000;       ///< where the guest has its memory
    std::uint64_t user = 0x7f12'0000'0000;     ///< and its emulator
    std::uint64_t offset = 0x3000;             ///< and the file
  };

  Guest() : Guest(Options{}) {}
  explicit Guest(const Options& o) : options(o) {
    const std::size_t queues_n = 2 * o.pairs;
    region = {o.address, kArenas + queues_n * o.arena, o.user, o.offset};
    file = make_memfd(o.offset + region.size);
    memory.add(o.address, Mapping(file.get(), region.size, o.offset));
    queues.resize(queues_n);
    for (std::size_t i = 0; i < queues_n; ++i) load(i, o.queue_size);
  }
  /// The driver of ring i loads anew, with a ring of this size.
  void load(std::size_t i, std::uint16_t size) {
    auto q =
        std::make_unique<GuestQueue>(memory, size, options.address + i * kRing,
                                     options.address + kArenas + i * options.arena, options.arena);
    if (queues[i]) {
      q->header = queues[i]->header;
      q->event_idx = queues[i]->event_idx;
    }
    queues[i] = std::move(q);
  }

  const Options options;
  MemoryRegion region{};
  Fd file;
  GuestMemory memory;
  std::vector<std::unique_ptr<GuestQueue>> queues;

  GuestQueue& in(std::size_t pair = 0) { return *queues[2 * pair]; }
  GuestQueue& out(std::size_t pair = 0) { return *queues[2 * pair + 1]; }
  /// What the emulator's process calls this address of the guest's.
  std::uint64_t user(std::uint64_t address) const {
    return address - options.address + options.user;
  }

  static constexpr std::uint64_t kRing = 0x8000;        ///< a ring of 1024 fits
  static constexpr std::uint64_t kArenas = 16 * kRing;  ///< the first arena, in the region
};

/// Speaks for a guest as an emulator does. A new one over the same guest is the emulator that
/// reconnects.
class FrontEnd {
 public:
  /// All but dirty logging, which is switched on while a guest runs, and what only a plug knows.
  static constexpr std::uint64_t kWanted =
      kFeatures & ~bit(kFeatureLogAll) & ~bit(VIRTIO_F_RING_PACKED);
  static constexpr std::uint64_t kWantedProtocol = kProtocolFeatures & ~bit(kDoorbell);

  FrontEnd(Wire connection, Guest& g) : wire(std::move(connection)), guest(g) {}

  Wire wire;
  Guest& guest;
  std::uint64_t features = 0, protocol_features = 0;
  std::uint64_t offered = 0, offered_protocol = 0;

  // Single messages.

  /// Says it and waits until it has been understood. True: the back end did as it was told, as far
  /// as it tells; false: it refused or has closed.
  bool tell(Request request, const void* payload, std::size_t bytes,
            std::span<const int> fds = {}) {
    if (has(protocol_features, kReplyAck)) {
      if (!wire.send(request, payload, bytes, fds, kVersion | kNeedReply)) return false;
      const auto answer = wire.read();
      return answer && answer->header.request == static_cast<std::uint32_t>(request) &&
             number(*answer) == 0;
    }
    if (!wire.send(request, payload, bytes, fds)) return false;
    return ask(Request::get_features).has_value();
  }
  template <typename T>
  bool tell(Request request, const T& payload, std::span<const int> fds = {}) {
    return tell(request, &payload, sizeof payload, fds);
  }
  bool tell(Request request, std::uint64_t payload, std::initializer_list<int> fds) {
    return tell(request, &payload, sizeof payload, std::span<const int>(fds.begin(), fds.size()));
  }
  /// A question without payload that a number answers.
  std::optional<std::uint64_t> ask(Request request) {
    if (!wire.send(request, nullptr, 0)) return std::nullopt;
    const auto answer = wire.read();
    if (!answer || answer->header.request != static_cast<std::uint32_t>(request))
      return std::nullopt;
    return number(*answer);
  }

  /// The bits that both know. Throws when the back end doesn't answer.
  void negotiate(std::uint64_t wanted = kWanted, std::uint64_t wanted_protocol = kWantedProtocol) {
    offered = must(ask(Request::get_features), "get_features");
    if (has(wanted & offered, kFeatureProtocol)) {
      offered_protocol = must(ask(Request::get_protocol_features), "get_protocol_features");
      const std::uint64_t both = offered_protocol & wanted_protocol;
      must(tell(Request::set_protocol_features, both), "set_protocol_features");
      protocol_features = both;
    }
    must(wire.send(Request::set_owner, nullptr, 0), "set_owner");
    set_features(wanted & offered);
  }
  void set_features(std::uint64_t bits) {
    must(tell(Request::set_features, bits), "set_features");
    features = bits;
    for (auto& q : guest.queues) {
      q->header = has(bits, VIRTIO_NET_F_MRG_RXBUF) || has(bits, VIRTIO_F_VERSION_1) ? 12 : 10;
      q->event_idx = has(bits, VIRTIO_RING_F_EVENT_IDX);
    }
  }
  bool set_memory() { return set_memory({&guest.region, 1}, std::vector<int>{guest.file.get()}); }
  bool set_memory(std::span<const MemoryRegion> regions, std::span<const int> fds) {
    MemoryTable table{};
    table.count = static_cast<std::uint32_t>(regions.size());
    std::copy(regions.begin(), regions.end(), table.regions);
    return tell(Request::set_mem_table, &table,
                offsetof(MemoryTable, regions) + regions.size_bytes(), fds);
  }
  bool add_memory(const MemoryRegion& region, int fd) {
    const int fds[] = {fd};
    return tell(Request::add_mem_reg, SingleRegion{0, region}, fds);
  }
  bool remove_memory(const MemoryRegion& region) {
    return tell(Request::rem_mem_reg, SingleRegion{0, region});
  }
  VringAddr addresses(std::uint32_t i) const {
    const RingAddress& w = guest.queues[i]->driver.where();
    return {i, 0, guest.user(w.desc), guest.user(w.used), guest.user(w.avail), w.used};
  }
  bool set_size(std::uint32_t i, std::uint32_t n) {
    return tell(Request::set_vring_num, VringState{i, n});
  }
  bool set_base(std::uint32_t i, std::uint32_t base) {
    return tell(Request::set_vring_base, VringState{i, base});
  }
  bool set_addresses(std::uint32_t i) { return tell(Request::set_vring_addr, addresses(i)); }
  bool set_fd(Request which, std::uint32_t i, const Fd& fd) {
    if (!fd) return tell(which, i | kVringNoFd, {});
    return tell(which, std::uint64_t{i}, {fd.get()});
  }
  bool enable(std::uint32_t i, bool on = true) {
    return tell(Request::set_vring_enable, VringState{i, on});
  }
  /// Stops the ring. Where it stopped; nothing when the back end doesn't say.
  std::optional<std::uint32_t> get_base(std::uint32_t i) {
    const VringState state{i, 0};
    if (!wire.send(Request::get_vring_base, &state, sizeof state)) return std::nullopt;
    const auto answer = wire.read();
    if (!answer || answer->payload.size() != sizeof state) return std::nullopt;
    VringState got;
    std::memcpy(&got, answer->payload.data(), sizeof got);
    return got.index == i ? std::optional(got.num) : std::nullopt;
  }

  // What an emulator does.

  /// Everything that sets a ring up, from `base` on.
  void start_ring(std::uint32_t i, std::uint32_t base) {
    GuestQueue& q = *guest.queues[i];
    must(set_fd(Request::set_vring_err, i, q.err), "set_vring_err");
    must(set_fd(Request::set_vring_call, i, q.call), "set_vring_call");
    must(set_size(i, q.driver.where().size), "set_vring_num");
    must(set_base(i, base), "set_vring_base");
    must(set_addresses(i), "set_vring_addr");
    must(set_fd(Request::set_vring_kick, i, q.kick), "set_vring_kick");
  }
  /// All rings from where their drivers see them, enabled.
  void start_rings() {
    for (std::uint32_t i = 0; i < guest.queues.size(); ++i) {
      // In this order, as QEMU: a ring that is started and not enabled discards what waits in it.
      if (has(features, kFeatureProtocol)) must(enable(i), "set_vring_enable");
      start_ring(i, guest.queues[i]->driver.used_idx());
    }
    for (auto& q : guest.queues) take_signals(q->call);
  }
  void start() {
    negotiate();
    must(set_memory(), "set_mem_table");
    start_rings();
  }
  /// The emulator dies.
  void vanish() {
    wire.close();
    wire.pump();
  }

  static void must(bool done, const char* what) {
    if (!done) throw Error(Errc::invalid, std::string("the back end refuses ") + what);
  }
  template <typename T>
  static T must(std::optional<T> answer, const char* what) {
    must(answer.has_value(), what);
    return *answer;
  }

 private:
  static std::optional<std::uint64_t> number(const Wire::Answer& a) {
    std::uint64_t v;
    if (a.payload.size() != sizeof v) return std::nullopt;
    std::memcpy(&v, a.payload.data(), sizeof v);
    return v;
  }
};

/// A port on the caller's thread, given its turns by hand, and what it lent.
class DirectPort {
 public:
  explicit DirectPort(std::unique_ptr<Port> p) : port(std::move(p)) {}
  explicit DirectPort(const PortOptions& o) : DirectPort(std::make_unique<Port>(o)) {}

  std::unique_ptr<Port> port;
  std::vector<Bytes> frames;  ///< from the guest, since they were last taken

  /// One turn, as the loop gives it to a port that its descriptor woke.
  void turn() {
    port->disarm();
    for (Bytes& b : receive(*port)) frames.push_back(std::move(b));
    port->flush({});
  }
  /// Turns until there is no more to do.
  void run() {
    for (int i = 0; i < 10'000; ++i) {
      turn();
      if (port->arm({})) return;
    }
    throw Error(Errc::invalid, "the port finds no rest");
  }
  std::function<void()> pump() {
    return [this] { turn(); };
  }
  std::vector<Bytes> take() { return std::exchange(frames, {}); }
  /// Sends one frame to the guest. False: refused.
  bool deliver(std::span<const std::uint8_t> bytes, const sw::Offload& o = {}) {
    const bool sent = send(*port, bytes, o);
    port->flush({});
    return sent;
  }
  std::uint64_t counter(const std::string& name) const {
    std::uint64_t sum = 0;
    port->report([&](std::string_view n, std::uint64_t v) { sum += n == name ? v : 0; });
    return sum;
  }
};

/// A port over one connection and the emulator at its other end, both on the caller's thread.
class Pair {
 public:
  explicit Pair(const Guest::Options& o = {}) : Pair(o, make_socketpair()) {}

  Guest guest;
  DirectPort back;
  FrontEnd front;

 private:
  Pair(const Guest::Options& o, std::pair<Fd, Fd> ends)
      : guest(o),
        back(std::make_unique<Port>(std::move(ends.first), o.pairs)),
        front(Wire(std::move(ends.second), back.pump()), guest) {}
};

}  // namespace rp::backend::vhost_user
