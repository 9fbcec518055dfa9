// SPDX-License-Identifier: BSD-3-Clause
// coalesce.cc - a burst of frames of several flows, some of them spoilt, joined and taken apart.
//
// Invariant: a join leaves no trace. Completed and segmented, what was joined is what came in:
// the same frames, and those of one flow in their order. The id of an IPv4 packet that must not be
// fragmented is not looked at: it means nothing (RFC 6864, 4.1).
#include "switch/coalesce.h"

#include <deque>
#include <map>
#include <random>

#include "fuzz/harness.h"
#include "switch/checksum.h"
#include "switch/offload.h"
#include "tests/switch/packets.h"

namespace {

using namespace rp;
using fuzz::Input;
using test::Bytes;

/// Addresses and ports of a TCP frame; what is none has its own bytes, and so no order.
Bytes flow_of(const Bytes& b) {
  test::Held held(b);
  sw::Layers l;
  if (!sw::locate(held.frame, l) || l.proto != sw::kProtoTcp || b.size() < l.l4 + 20) return b;
  const std::size_t from = l.l3 + (l.type == sw::kEtherIpv6 ? 8 : 12);
  const std::size_t to = l.l3 + (l.type == sw::kEtherIpv6 ? 40 : 20);
  Bytes key(b.begin() + static_cast<std::ptrdiff_t>(from),
            b.begin() + static_cast<std::ptrdiff_t>(to));
  key.insert(key.end(), b.begin() + l.l4, b.begin() + l.l4 + 4);
  return key;
}

/// Takes the id out of an IPv4 packet that must not be fragmented, and out of its header's
/// checksum, which stays as right or wrong as it was.
void forget_id(Bytes& b) {
  test::Held held(b);
  sw::Layers l;
  if (!sw::locate(held.frame, l) || l.type != sw::kEtherIpv4 || b.size() < l.l3 + 20u) return;
  if ((b[l.l3 + 6] & 0x40) == 0) return;
  const auto id = static_cast<std::uint16_t>(test::get16(b, l.l3 + 4));
  const auto sum = static_cast<std::uint16_t>(test::get16(b, l.l3 + 10));
  test::put16(b, l.l3 + 4, 0);
  test::put16(b, l.l3 + 10, sw::checksum_update(sum, id, 0));
}

using PerFlow = std::map<Bytes, std::vector<Bytes>>;

PerFlow completed(std::span<const sw::Frame* const> frames) {
  static sw::Segmenter segmenter;
  PerFlow flows;
  for (const sw::Frame* f : frames) {
    const std::size_t made = segmenter.finish(*f, {}, [&](const sw::Frame& s) {
      Bytes b = test::bytes_of(s);
      Bytes flow = flow_of(b);
      forget_id(b);
      flows[std::move(flow)].push_back(std::move(b));
    });
    RP_CHECK(made > 0);
  }
  return flows;
}

/// The next segments of one flow, as its sender would hand them over.
struct Sender {
  test::Recipe recipe;
  Bytes rest;  ///< a frame whose payload is not sent yet
  std::size_t mss;

  explicit Sender(Input& in) {
    const unsigned shape = in.byte();
    recipe.v6 = shape & 1;
    recipe.df = shape & 2;
    recipe.tags = (shape >> 2) % 3;
    recipe.tcp_options = shape & 32 ? 12 : 0;
    recipe.flags = sw::kTcpAck | (shape & 64 ? sw::kTcpPsh : 0) | (shape & 128 ? sw::kTcpFin : 0);
    mss = 1 + in.byte() % 200u * 7u;
    recipe.payload = mss * (1 + in.below(20)) + in.byte() % mss;
    std::mt19937 random(shape);
    rest = test::build(recipe, random);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  std::vector<std::vector<Bytes>> trains;
  std::vector<Sender> senders;
  for (unsigned flows = 1 + in.below(20); flows > 0; --flows) {
    senders.emplace_back(in);
    trains.push_back(
        test::naive_segments(senders.back().rest, senders.back().recipe, senders.back().mss));
  }
  std::deque<test::Held> held;
  std::vector<const sw::Frame*> frames;
  std::vector<std::size_t> at(trains.size());
  while (!in.empty() && held.size() < sw::Burst::kFrames) {
    const std::size_t flow = in.below(static_cast<unsigned>(trains.size()));
    const unsigned how = in.byte();
    const Sender& sender = senders[flow];
    if (at[flow] >= trains[flow].size()) at[flow] = 0;
    Bytes b = trains[flow][at[flow]++];
    sw::Offload claim = test::csum_claim(sender.recipe);
    if ((how & 3) == 0) {
      test::naive_complete(b, sender.recipe);
      claim = {};
    } else if ((how & 3) == 1 && at[flow] == 1) {
      // All that the sender has, as one frame.
      b = sender.rest;
      at[flow] = trains[flow].size();
      claim = test::gso_claim(sender.recipe, sender.mss);
    }
    if (how & 4) b[in.byte() % b.size()] ^= in.byte();
    held.emplace_back(std::move(b), how & 8 ? 5 : 1 << 20);
    held.back().frame.offload = claim;
    if (sw::check_offload(held.back().frame))
      frames.push_back(&held.back().frame);
    else
      held.pop_back();
  }
  static sw::Coalescer coalescer;
  const sw::Offloads can{.csum = true, .tso4 = in.flag(), .tso6 = in.flag()};
  const sw::Offloads all{.csum = true, .tso4 = true, .tso6 = true};
  const PerFlow before = completed(frames);
  for (const sw::Offloads& port : {all, can}) {
    const auto joined = coalescer.join(frames, port);
    std::size_t stands_for = 0;
    for (const sw::Frame* f : joined) {
      RP_CHECK(f->len <= sw::kMaxFrame);
      stands_for += 1u + f->absorbed;
    }
    RP_CHECK(stands_for == frames.size());
    RP_CHECK(completed(joined) == before);
  }
  return 0;
}
