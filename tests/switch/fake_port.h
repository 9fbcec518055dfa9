// SPDX-License-Identifier: BSD-3-Clause
// fake_port.h - a port that a test feeds and reads.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "switch/port.h"

namespace rp::test {

using Bytes = std::vector<std::uint8_t>;

class FakePort final : public sw::Port {
 public:
  std::deque<std::pair<Bytes, sw::Offload>> inbound;  ///< towards the switch
  std::vector<std::pair<Bytes, sw::Offload>> sent;    ///< away from the switch
  std::vector<sw::PortId> forgotten;
  sw::Offloads can;
  sw::Claim claims;
  bool up = true;
  std::size_t room = SIZE_MAX;
  bool queues = false;
  std::vector<std::size_t> queue_lengths;  ///< as they were set
  int flushes = 0, sends = 0;

  int poll_fd() const noexcept override { return -1; }
  sw::Offloads offloads() const noexcept override { return can; }
  bool link_up() const noexcept override { return up; }
  void receive(sw::Burst& burst, Instant) noexcept override {
    for (const auto& [bytes, offload] : inbound) {
      if (burst.full()) break;
      burst.add(bytes);
      burst[burst.size() - 1].offload = offload;
    }
    lent_ = burst.size();
  }
  void release() noexcept override {
    inbound.erase(inbound.begin(), inbound.begin() + static_cast<std::ptrdiff_t>(lent_));
    lent_ = 0;
  }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    ++sends;
    std::size_t taken = 0;
    for (; taken < frames.size() && room > 0; ++taken, --room) {
      Bytes bytes(frames[taken]->len);
      frames[taken]->copy_to(bytes.data());
      sent.emplace_back(std::move(bytes), frames[taken]->offload);
    }
    return frames.size() - taken;
  }
  bool flush(Instant) noexcept override {
    ++flushes;
    return false;
  }
  bool arm(Instant) noexcept override { return inbound.empty(); }
  bool has_queue() const noexcept override { return queues; }
  void set_queue(std::size_t frames) override { queue_lengths.push_back(frames); }
  sw::Claim claim() const noexcept override { return claims; }
  void forget(sw::PortId id) noexcept override { forgotten.push_back(id); }

 private:
  std::size_t lent_ = 0;
};

/// An Ethernet frame of `size` bytes whose payload counts up.
inline Bytes ethernet(std::uint64_t dst, std::uint64_t src, std::size_t size = 60,
                      std::uint16_t type = 0x88b5) {
  Bytes b(size);
  for (std::size_t i = 0; i < size; ++i) b[i] = static_cast<std::uint8_t>(i);
  for (std::size_t i = 0; i < 6; ++i) {
    if (i < size) b[i] = static_cast<std::uint8_t>(dst >> (8 * (5 - i)));
    if (i + 6 < size) b[i + 6] = static_cast<std::uint8_t>(src >> (8 * (5 - i)));
  }
  if (size >= 14) {
    b[12] = static_cast<std::uint8_t>(type >> 8);
    b[13] = static_cast<std::uint8_t>(type);
  }
  return b;
}

}  // namespace rp::test
