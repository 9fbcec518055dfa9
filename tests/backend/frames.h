// SPDX-License-Identifier: BSD-3-Clause
// frames.h - frames whose bytes tell which they are, for tests of the plug and its port.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "switch/frame.h"
#include "tests/switch/fake_port.h"

namespace rp::backend {

using test::Bytes;

/// `size` bytes that depend on `seed`, any two neighbours of which differ.
inline Bytes pattern(std::size_t size, std::uint32_t seed) {
  Bytes b(size);
  std::uint32_t x = seed * 2654435761u + 1;
  for (auto& byte : b) byte = static_cast<std::uint8_t>((x += 0x9e3779b9u) >> 24);
  return b;
}

inline bool same(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

/// All bytes of a frame that a port lends.
inline Bytes bytes_of(const sw::Frame& f) {
  Bytes b(f.len);
  if (f.len != 0) f.copy_to(b.data());
  return b;
}

/// A frame to send whose body lies in several parts. It borrows `bytes`.
struct SplitFrame {
  explicit SplitFrame(std::span<const std::uint8_t> bytes, std::size_t cuts = 0) {
    std::array<sw::Part, 1> whole{};
    sw::make_frame(frame, whole[0], bytes);
    const std::size_t body = frame.len - frame.head_len;
    const std::size_t step = std::max<std::size_t>(1, body / (cuts + 1));
    for (std::size_t at = 0; at < body; at += step) {
      const auto n = static_cast<std::uint32_t>(std::min(step, body - at));
      parts.push_back({bytes.data() + frame.head_len + at, n});
    }
    frame.body = parts;
  }
  SplitFrame(SplitFrame&&) = delete;
  sw::Frame frame;
  std::vector<sw::Part> parts;
};

/// Sends one frame through a port. False: refused.
inline bool send(sw::Port& port, std::span<const std::uint8_t> bytes, sw::Offload offload = {},
                 std::size_t cuts = 0) {
  SplitFrame split(bytes, cuts);
  split.frame.offload = offload;
  const sw::Frame* one = &split.frame;
  return port.send({&one, 1}, {}) == 0;
}

/// Takes one burst out of a port.
inline std::vector<Bytes> receive(sw::Port& port) {
  static thread_local sw::Burst burst;
  burst.clear();
  port.receive(burst, {});
  std::vector<Bytes> out;
  for (const sw::Frame& f : burst.frames()) out.push_back(bytes_of(f));
  port.release();
  return out;
}

}  // namespace rp::backend
