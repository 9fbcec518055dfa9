// SPDX-License-Identifier: BSD-3-Clause
// ring_session.h - the device end of one ring of either kind, driven by a hostile driver that also
// changes memory after it was checked.
//
// Invariants: no byte outside the buffers that the driver named is written (canaries lie between
// them, and around the region); what is lent lies in the region and adds up; a ring that broke
// stays broken and asks for nothing; a driver that starts anew on the same memory is served.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <optional>

#include "backend/net_queue.h"
#include "base/error.h"
#include "fuzz/harness.h"
#include "tests/backend/tracked_ring_book.h"

namespace rp::fuzz {

/// The memory that device and driver share, and the region where chains in hand are noted.
class RingWorld {
 public:
  static constexpr std::uint64_t kAt = 0x10000;  ///< as the driver knows the region
  static constexpr std::uint64_t kTables = kAt + 0x1000, kBuffers = kAt + 0x2000;
  static constexpr std::size_t kBufferCount = 16, kStride = 0x200, kRoom = 0x180;
  /// The last byte lies behind the canaries: a driver may name it as a buffer.
  static constexpr std::size_t kSize = 0x2000 + kBufferCount * kStride + 1;
  static constexpr std::uint8_t kCanary = 0xc5;

  RingWorld()
      : file_(backend::make_memfd(kFile)),
        whole(file_.get(), kFile),
        inflight(backend::make_memfd(kInflight).get(), kInflight) {
    memory.add(kAt, backend::Mapping(file_.get(), kSize, kLead));
  }

  void clear() {
    std::memset(whole.data(), kCanary, kFile);
    std::memset(region(), 0, kBuffers - kAt);
    std::memset(inflight.data(), 0, kInflight);
  }
  std::uint8_t* region() const { return whole.data() + kLead; }
  std::uint8_t* buffer(std::size_t i) const { return region() + (kBuffers - kAt) + i * kStride; }
  static std::uint64_t address(std::size_t i) { return kBuffers + i * kStride; }
  bool inside(const std::uint8_t* p, std::size_t len) const {
    const std::uint8_t* const base = memory.translate(kAt, 1);
    return p >= base && len <= kSize && p <= base + (kSize - len);
  }
  /// All that no buffer is in still has its canaries.
  void check_canaries() const {
    check(whole.data(), kLead);
    check(region() + kSize, kFile - kLead - kSize);
    for (std::size_t i = 0; i < kBufferCount; ++i) check(buffer(i) + kRoom, kStride - kRoom);
  }
  /// Tables and buffers, which a driver that sends finds as it left them.
  Bytes sent_from() const { return {region() + (kTables - kAt), region() + kSize}; }

  backend::GuestMemory memory;

 private:
  static constexpr std::size_t kLead = 64, kFile = 0x6000, kInflight = 0x1000;
  static_assert(kLead + kSize < kFile);
  static void check(const std::uint8_t* p, std::size_t n) {
    RP_CHECK(p[0] == kCanary && std::memcmp(p, p + 1, n - 1) == 0);
  }
  Fd file_;

 public:
  backend::Mapping whole;
  backend::Mapping inflight;
};

template <typename Side>
class RingSession {
 public:
  RingSession(RingWorld& world, Input& in) : w_(world) {
    w_.clear();
    const unsigned how = in.byte();
    setup_.packed = Side::kPacked;
    setup_.features = {(how & 1) != 0, (how & 2) != 0};
    setup_.format = {how & 4 ? 10u : 12u, (how & 8) != 0, (how & 16) != 0};
    sends_ = how & 32;
    // A packed ring's size is any number.
    const unsigned size = Side::kPacked ? 1 + in.below(16) : 1u << in.below(5);
    setup_.where = Side::where(static_cast<std::uint16_t>(size), RingWorld::kAt);
    if (how & 64)
      setup_.inflight = {w_.inflight.data(), static_cast<std::uint16_t>(size + (how >> 7))};
    ++setup_.where.desc;
    RP_CHECK(!make());
    --setup_.where.desc;
    driver_.emplace(w_.memory, setup_.where);
    RP_CHECK(make());
  }

  void run(Input& in) {
    for (int steps = 0; !in.empty() && steps < 500; ++steps) {
      if (in.flag())
        drive(in);
      else
        serve(in);
      w_.check_canaries();
      if (fault_) RP_CHECK(queue().fault() == *fault_);
      if (queue().fault() != backend::RingFault::none) fault_ = queue().fault();
    }
    RP_CHECK(*backend::ring_fault_name(queue().fault()) != 0);
    start_anew();
  }

 private:
  backend::NetQueue& queue() {
    if (sends_) return *from_;
    return *to_;
  }
  /// False: the region of chains in hand says what it can't.
  bool make() {
    from_.reset();
    to_.reset();
    fault_.reset();
    try {
      if (sends_)
        from_ = backend::make_from_guest(w_.memory, setup_);
      else
        to_ = backend::make_to_guest(w_.memory, setup_);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  std::uint16_t size() const { return setup_.where.size; }
  std::uint64_t any_address(Input& in) {
    static constexpr std::uint64_t kEnd = RingWorld::kAt + RingWorld::kSize;
    static constexpr std::uint64_t kOdd[] = {0,        RingWorld::kAt,      RingWorld::kAt - 1,
                                             kEnd - 1, RingWorld::kTables,  kEnd,
                                             ~0ull,    RingWorld::kAt + 64, RingWorld::kTables + 8};
    const unsigned n = in.byte();
    if (n >= 200) return kOdd[n % std::size(kOdd)];
    return RingWorld::address(n % RingWorld::kBufferCount);
  }
  std::uint32_t any_length(Input& in) {
    static constexpr std::uint32_t kSome[] = {
        1, 2, 9, 10, 11, 12, 13, 16, 64, 100, 128, RingWorld::kRoom, 0, ~0u, 0x10000, 48};
    return kSome[in.below(std::size(kSome))];
  }
  vring_desc any_split(Input& in) {
    return {any_address(in), any_length(in), static_cast<std::uint16_t>(in.byte() & 7),
            static_cast<std::uint16_t>(in.below(size() + 2u))};
  }
  backend::Piece piece(Input& in) {
    static constexpr std::uint32_t kSome[] = {1, 10, 12, 14, 60, 200, 300, RingWorld::kRoom};
    return {RingWorld::address(in.below(RingWorld::kBufferCount)),
            kSome[in.below(std::size(kSome))], !sends_};
  }

  void poke(Input& in) {
    const auto at = static_cast<std::uint16_t>(in.below(size()));
    if constexpr (Side::kPacked) {
      const vring_desc d = any_split(in);
      // Of this lap or the other, used or not.
      const auto flags =
          static_cast<std::uint16_t>(d.flags | (in.byte() & 3) * 0x80 | (in.flag() ? 0x8000 : 0));
      driver_->set_desc(at, {d.addr, d.len, d.next, flags});
    } else {
      driver_->set_desc(at, any_split(in));
    }
  }
  void poke_table(Input& in) {
    const vring_desc d = any_split(in);
    const unsigned at = in.byte();
    if constexpr (Side::kPacked)
      backend::store_desc(driver_->template at<vring_packed_desc>(RingWorld::kTables) + at % 64,
                          vring_packed_desc{d.addr, d.len, d.next, d.flags});
    else
      backend::store_desc(driver_->template at<vring_desc>(RingWorld::kTables) + at % 64, d);
  }
  void poke_ring(Input& in) {
    const std::uint16_t v = in.u16();
    if constexpr (Side::kPacked) {
      driver_->set_driver_event(v >> 14, v & 0x801f);
    } else {
      switch (v & 3) {
        case 0:
          return driver_->set_avail_idx(
              static_cast<std::uint16_t>(driver_->next() + (v >> 2) % 6 - 2));
        case 1:
          return backend::store_relaxed(driver_->areas().avail_ring(v >> 8),
                                        static_cast<std::uint16_t>((v >> 2) % (size() + 2u)));
        case 2:
          return driver_->set_used_event(v >> 2);
        default:
          return driver_->scribble_used(static_cast<std::uint8_t>(v >> 2));
      }
    }
  }
  void offer(Input& in) {
    const unsigned how = in.byte();
    std::vector<backend::Piece> pieces(1 + how % 4);
    for (auto& p : pieces) p = piece(in);
    const bool indirect = setup_.features.indirect && (how & 16);
    if (driver_->free_descriptors() < (indirect ? 1 : pieces.size())) return;
    if (driver_->in_flight() >= size()) return;
    if (indirect)
      driver_->indirect(pieces, RingWorld::kTables + (how >> 5) * 64u);
    else
      driver_->chain(pieces);
    if (how & 8) driver_->publish();
  }

  /// One thing that the driver does.
  void drive(Input& in) {
    typename Side::Driver::Used used;
    switch (in.below(12)) {
      case 0:
        return poke(in);
      case 1:
        return poke_table(in);
      case 2:
        return poke_ring(in);
      case 3:
        driver_->publish();
        return;
      case 4:
      case 5:
        driver_->reap(used);
        return;
      case 6: {
        std::uint8_t* const to = w_.buffer(in.below(RingWorld::kBufferCount));
        const auto bytes = in.take(in.byte());
        std::copy(bytes.begin(), bytes.end(), to);
        return;
      }
      case 7:
        if (setup_.inflight) w_.inflight.data()[in.u16() % 0x300] = in.byte();
        return;
      default:
        return offer(in);
    }
  }

  /// One thing that the device does.
  void serve(Input& in) {
    switch (in.below(8)) {
      case 0:
        queue().enable_notifications();
        return;
      case 1:
        queue().disable_notifications();
        return;
      case 2:
        queue().publish();
        return;
      case 3:
        return go_on(in.flag());
      case 4:
        if (sends_) {
          from_->discard();
          from_->release();
          return;
        }
        [[fallthrough]];
      default:
        return sends_ ? lend(in) : send(in);
    }
  }
  void lend(Input& in) {
    burst_->clear();
    const Bytes before = w_.sent_from();
    const bool broken = queue().fault() != backend::RingFault::none;
    from_->lend(*burst_);
    RP_CHECK(!broken || burst_->empty());
    std::size_t parts = 0;
    for (const sw::Frame& f : burst_->frames()) {
      std::uint64_t total = f.head_len;
      RP_CHECK(f.head_len == std::min(f.len, sw::Frame::kHead));
      for (const sw::Part& p : f.body) {
        RP_CHECK(w_.inside(p.data, p.len));
        total += p.len;
        ++parts;
      }
      RP_CHECK(total == f.len);
    }
    RP_CHECK(parts <= sw::Burst::kParts && w_.sent_from() == before);
    // The driver goes on meanwhile.
    for (unsigned n = in.below(4); n > 0; --n) drive(in);
    for (const sw::Frame& f : burst_->frames()) {
      Bytes copy(f.len + 1);
      f.copy_to(copy.data());
    }
    from_->release();
  }
  void send(Input& in) {
    static const Bytes bytes(5000, 0x5a);
    std::array<sw::Frame, 70> frames;
    std::array<sw::Part, 70> parts;
    std::array<const sw::Frame*, 70> list;
    const std::size_t n = 1 + in.below(70);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t len = 14 + (i % 4 ? 100 : in.u16() % 4900);
      sw::make_frame(frames[i], parts[i], std::span(bytes).first(len));
      frames[i].offload.flags = in.byte() & 3;
      list[i] = &frames[i];
    }
    const bool broken = queue().fault() != backend::RingFault::none;
    const std::size_t sent = to_->send({list.data(), n});
    RP_CHECK(sent <= n && (!broken || sent == 0));
    for (unsigned more = in.below(3); more > 0; --more) drive(in);
    if (in.flag()) to_->publish();
  }
  /// The front end stops the ring and starts it where it was, or another process takes over.
  void go_on(bool retire) {
    queue().publish();
    const std::uint32_t position = queue().position();
    if (retire) queue().retire();
    setup_.start = position;
    if (!make()) {
      // What the region says is refused; without it there is a ring again.
      std::memset(w_.inflight.data(), 0, w_.inflight.size());
      RP_CHECK(make());
    }
  }
  void start_anew() {
    setup_.start.reset();
    std::memset(w_.inflight.data(), 0, w_.inflight.size());
    driver_.emplace(w_.memory, setup_.where);
    RP_CHECK(make());
    const backend::Piece whole{RingWorld::address(0), 100, !sends_};
    driver_->chain({whole});
    driver_->publish();
    if (sends_) {
      burst_->clear();
      from_->lend(*burst_);
      RP_CHECK(burst_->size() == 1 && (*burst_)[0].len == 100 - setup_.format.header);
      from_->release();
    } else {
      const Bytes bytes(60, 0x5a);
      sw::Frame f;
      sw::Part part;
      sw::make_frame(f, part, bytes);
      const sw::Frame* const one = &f;
      RP_CHECK(to_->send({&one, 1}) == 1);
      to_->publish();
      RP_CHECK(std::memcmp(w_.buffer(0) + setup_.format.header, bytes.data(), bytes.size()) == 0);
    }
    typename Side::Driver::Used used{};
    RP_CHECK(driver_->reap(used) && used.len == (sends_ ? 0 : 60 + setup_.format.header));
    RP_CHECK(queue().fault() == backend::RingFault::none);
    w_.check_canaries();
  }

  RingWorld& w_;
  backend::QueueSetup setup_{};
  bool sends_ = false;
  std::optional<typename Side::Driver> driver_;
  std::unique_ptr<backend::FromGuestQueue> from_;
  std::unique_ptr<backend::ToGuestQueue> to_;
  std::unique_ptr<sw::Burst> burst_ = std::make_unique<sw::Burst>();
  std::optional<backend::RingFault> fault_;
};

template <typename Side>
void fuzz_ring(const std::uint8_t* data, std::size_t size) {
  static RingWorld world;
  Input in(data, size);
  RingSession<Side>(world, in).run(in);
}

}  // namespace rp::fuzz
