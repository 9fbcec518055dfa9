// SPDX-License-Identifier: BSD-3-Clause
// alloc_test.cc - no frame costs an allocation: operator new and malloc are counted.
//
// An executable of its own, as it replaces both for the whole process. A sanitizer brings its own
// malloc; there only operator new is counted.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "backend/loop.h"
#include "backend/plug.h"
#include "backend/ring_port.h"
#include "switch/offload.h"
#include "tests/backend/frames.h"
#include "tests/backend/scale.h"

namespace {
std::atomic<std::size_t> allocations{0};

void* counted(std::size_t size, std::size_t align) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* p = align > alignof(std::max_align_t)
                ? std::aligned_alloc(align, (size + align - 1) / align * align)
                : std::malloc(size ? size : 1);
  if (!p) throw std::bad_alloc();
  return p;
}
}  // namespace

// Not inline: gcc would see free() of what new gave, and warn.
[[gnu::noinline]] void* operator new(std::size_t n) {
  return counted(n, 1);
}
[[gnu::noinline]] void* operator new[](std::size_t n) {
  return counted(n, 1);
}
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  return counted(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) {
  return counted(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

#ifdef RP_COUNT_MALLOC
// glibc's own entries, so that the replacement needs no look-up.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* malloc(std::size_t n) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, n);
}
}
#endif

namespace rp::backend {
namespace {

using test::ethernet;

constexpr sw::Offloads kEverything{true, true, true, true, true};
constexpr std::uint64_t kA = 0x020000000001, kAll = 0xffffffffffff;

TEST(AllocTest, TheCounterCounts) {
  const std::size_t before = allocations;
  const auto p = std::make_unique<int>(1);
  EXPECT_GT(allocations, before);
#ifdef RP_COUNT_MALLOC
  const std::size_t then = allocations;
  void* volatile q = std::malloc(100);
  EXPECT_GT(allocations, then);
  std::free(q);
#endif
}

/// Sends `n` frames from a to b through the loop, each from one of many stations. False: one got
/// stuck.
bool pass(Loop& loop, bool host_driven, Plug& a, Plug& b, Bytes& frame, std::size_t n) {
  std::size_t sent = 0, got = 0;
  Plug::Received r[sw::Burst::kFrames];
  while (got < n) {
    // Few enough that b's buffers hold them all, five to a frame of 9,000 bytes.
    for (; sent < n && sent - got < 200; ++sent) {
      frame[9] = static_cast<std::uint8_t>(sent);
      if (!a.send(frame, {})) break;
    }
    a.kick();
    pollfd p[2] = {{b.fd(), POLLIN, 0}, {loop.fd(), POLLIN, 0}};
    if (poll(p, host_driven ? 2 : 1, 20'000) < 1) return false;
    if (host_driven) loop.dispatch();
    const std::size_t k = b.peek(r);
    b.release(k);
    got += k;
  }
  return true;
}

TEST(AllocTest, NoneFromPlugToPlug) {
  for (const bool host_driven : {true, false}) {
    Loop::Options o;
    o.own_thread = !host_driven;
    Loop loop(o);
    PlugMemory ma = PlugMemory::create(), mb = PlugMemory::create();
    loop.add(std::make_unique<RingPort>(ma.duplicate(), kEverything), "a");
    loop.add(std::make_unique<RingPort>(mb.duplicate(), kEverything), "b");
    Plug a(std::move(ma)), b(std::move(mb));
    for (const std::size_t size : {60u, 1514u, 9000u}) {
      Bytes frame = ethernet(kAll, kA, size);
      ASSERT_TRUE(pass(loop, host_driven, a, b, frame, 1'000));
      const std::size_t before = allocations;
      const bool passed = pass(loop, host_driven, a, b, frame, rounds(20'000));
      const std::size_t made = allocations - before;
      EXPECT_TRUE(passed);
      EXPECT_EQ(made, 0u) << (host_driven ? "host driven, " : "own thread, ") << size;
    }
  }
}

/// A TCP segment of 64 KiB over IPv4, checksum and segmentation left to us.
Bytes large_send() {
  Bytes b = ethernet(0x020000000002, kA, 14 + 65535, 0x0800);
  std::memset(&b[14], 0, 40);
  b[14] = 0x45;
  b[16] = b[17] = 0xff;  // total length
  b[22] = 64;
  b[23] = 6;
  b[14 + 20 + 12] = 5 << 4;
  return b;
}

TEST(AllocTest, NoneInTheSegmenter) {
  const Bytes bytes = large_send();
  SplitFrame split(bytes, 7);
  split.frame.offload = {VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16};
  ASSERT_TRUE(sw::check_offload(split.frame));
  sw::Segmenter segmenter;
  const std::size_t before = allocations;
  std::size_t segments = 0, total = 0;
  for (int i = 0; i < 100; ++i) {
    segments += segmenter.finish(split.frame, {}, [&](const sw::Frame& f) { total += f.len; });
  }
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(segments, 100u * ((65535 - 40 + 1447) / 1448));
  EXPECT_GT(total, 100u * 65535);
}

}  // namespace
}  // namespace rp::backend
