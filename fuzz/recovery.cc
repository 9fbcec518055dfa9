// SPDX-License-Identifier: BSD-3-Clause
// recovery.cc - what a process finds of the one before it: the state file of packed rings, and the
// memory in which a front end kept what was in hand, both with any bytes in them.
//
// Invariant: it is refused, or a ring goes on from it that serves no more chains than it has slots
// and writes nowhere but into its ring and the buffers that the driver offered.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/packed_ring.h"
#include "backend/vhost_user/inflight.h"
#include "backend/vhost_user/state_file.h"
#include "fuzz/ring_session.h"

namespace {

using namespace rp::backend;
using rp::fuzz::Input;
using rp::fuzz::RingWorld;

/// Some laps of a driver and a device, then both stand still.
template <typename Driver, typename Ring>
void work(Driver& driver, Ring& ring, Input& in) {
  std::array<Segment, 64> segments;
  Chain chain{};
  std::uint32_t bytes = 0;
  for (unsigned n = in.byte() % 64; n > 0; --n) {
    typename Driver::Used used{};
    const unsigned what = in.byte();
    if (what & 1 && driver.free_descriptors() > 2 && driver.in_flight() + 2 < driver.where().size)
      driver.chain({{RingWorld::address(what % 16), 64, true}, {RingWorld::address(0), 8, true}});
    if (what & 2) driver.publish();
    if (what & 4 && ring.pop(segments, chain, bytes) > 0) {
      if (what & 64)
        ring.unpop(chain);
      else
        ring.complete(chain, 1);
    }
    if (what & 8) ring.publish();
    if (what & 16) driver.reap(used);
  }
}

/// All that it serves, to the end.
template <typename Ring>
void serve(RingWorld& world, Ring& ring, std::uint16_t size) {
  std::array<Segment, 64> segments;
  Chain chain{};
  std::uint32_t bytes = 0;
  unsigned served = 0;
  for (int n; (n = ring.pop(segments, chain, bytes)) > 0; ++served) {
    RP_CHECK(served <= size);
    for (int i = 0; i < n; ++i)
      RP_CHECK(world.inside(segments[static_cast<std::size_t>(i)].data,
                            segments[static_cast<std::size_t>(i)].len));
    ring.complete(chain, 1);
  }
  ring.publish();
  RP_CHECK(!(ring.broken() && ring.has_work()));
  world.check_canaries();
}

void spoil(std::span<std::uint8_t> bytes, Input& in) {
  for (unsigned n = in.byte() % 8; n > 0; --n) bytes[in.u16() % bytes.size()] = in.byte();
}

/// A file of our own; it goes with the process that made it.
const std::string& path() {
  static const std::string p = [] {
    std::string name = "/tmp/rp-fuzz-XXXXXX";
    RP_CHECK(mkdtemp(name.data()) != nullptr);
    return name + "/state";
  }();
  static const struct Remover {
    ~Remover() {
      unlink(p.c_str());
      rmdir(p.substr(0, p.rfind('/')).c_str());
    }
  } remover;
  return p;
}

/// The device is killed when its last batch was noted, before or after the driver could see it.
void die_within_a_batch(RingWorld& world, PackedRing& ring, PackedState& state, bool before) {
  const rp::fuzz::Bytes memory(world.region(), world.region() + RingWorld::kSize);
  const std::uint16_t begun = state.begun;
  ring.publish();
  if (state.begun == begun) return;
  state.done = begun;
  if (before) std::copy(memory.begin(), memory.end(), world.region());
}

void from_state_file(RingWorld& world, Input& in) {
  const RingAddress where =
      contiguous_packed_ring(static_cast<std::uint16_t>(1 + in.below(16)), RingWorld::kAt);
  const unsigned how = in.byte();
  const std::uint64_t key = how & 1;
  MockPackedDriver driver(world.memory, where);
  rp::fuzz::Bytes file(2 * sizeof(PackedState));
  const auto state = std::make_unique<PackedState>();
  {
    PackedRing ring(world.memory, where, Direction::to_driver, {true, true});
    ring.record(*state, key);
    work(driver, ring, in);
    if (how & 2) die_within_a_batch(world, ring, *state, how & 4);
  }
  std::memcpy(file.data(), state.get(), sizeof *state);
  spoil(std::span(file).first(512), in);
  spoil({world.region(), where.size * sizeof(vring_packed_desc)}, in);
  {
    vhost_user::StateFile made(path(), 2);
    made.rings()[0].magic = PackedState::kMagic;
  }
  {
    const rp::Fd fd(open(path().c_str(), O_RDWR | O_CLOEXEC));
    struct stat st;
    RP_CHECK(fd && fstat(fd.get(), &st) == 0);
    const auto at = st.st_size - static_cast<off_t>(file.size());
    const std::size_t size = in.flag() ? file.size() : in.u16() % file.size();
    RP_CHECK(ftruncate(fd.get(), at) == 0);
    RP_CHECK(pwrite(fd.get(), file.data(), size, at) == static_cast<ssize_t>(size));
  }
  vhost_user::StateFile kept(path(), 2);
  for (PackedState& s : kept.rings()) {
    const auto position = PackedRing::recover(world.memory, where, s, key);
    world.check_canaries();
    if (!position) continue;
    PackedRing ring(world.memory, where, Direction::to_driver, {true, true}, *position);
    ring.record(s, key);
    serve(world, ring, where.size);
  }
  kept.clear();
}

template <typename Side>
void from_inflight(RingWorld& world, Input& in) {
  const unsigned size = Side::kPacked ? 1 + in.below(16) : 1u << in.below(5);
  const RingAddress where = Side::where(static_cast<std::uint16_t>(size), RingWorld::kAt);
  vhost_user::InflightDescription d{0, 0, static_cast<std::uint16_t>(1 + in.below(4)),
                                    static_cast<std::uint16_t>(in.flag() ? size : in.u16()), 0};
  rp::Fd fd;
  try {
    fd = vhost_user::make_inflight(d);
    // What the front end gives back need not be what it got.
    if (in.flag()) d.mmap_size = in.u16();
    if (in.flag()) d.mmap_offset = in.byte();
    if (in.flag()) d.num_queues = in.byte();
    if (in.flag()) d.queue_size = in.byte();
    const vhost_user::InflightArea area(fd.get(), d);
    const InflightRegion region = area.region(in.below(5), Side::kPacked);
    if (!region) return;
    typename Side::Driver driver(world.memory, where);
    {
      typename Side::Ring ring(world.memory, where, Direction::to_driver, {true, true},
                               Side::Ring::kFresh, region);
      work(driver, ring, in);
    }
    spoil({region.data, inflight_bytes(Side::kPacked, region.entries)}, in);
    spoil({world.region(), 64}, in);
    typename Side::Ring ring(world.memory, where, Direction::to_driver, {true, true},
                             Side::Ring::kFresh, region);
    // What was in hand, and then what the driver makes available anew.
    serve(world, ring, static_cast<std::uint16_t>(2 * size));
  } catch (const rp::Error&) {
    world.check_canaries();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static RingWorld world;
  world.clear();
  Input in(data, size);
  switch (in.below(3)) {
    case 0:
      from_state_file(world, in);
      break;
    case 1:
      from_inflight<SplitSide>(world, in);
      break;
    default:
      from_inflight<PackedSide>(world, in);
  }
  return 0;
}
