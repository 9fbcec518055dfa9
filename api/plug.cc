// SPDX-License-Identifier: BSD-3-Clause
// plug.cc - rp_plug_*.
#include <array>
#include <cstring>

#include "api/guard.h"
#include "api/objects.h"
#include "api/options.h"
#include "backend/modes.h"
#include "backend/ring_port.h"

using namespace rp;
using namespace rp::api;

namespace {

static_assert(RP_MAX_FRAME == sw::kMaxFrame);

sw::Offloads offloads_of(unsigned bits) {
  return {(bits & RP_OFFLOAD_CSUM) != 0, (bits & RP_OFFLOAD_TSO4) != 0,
          (bits & RP_OFFLOAD_TSO6) != 0, (bits & RP_OFFLOAD_ECN) != 0,
          (bits & RP_OFFLOAD_USO) != 0};
}

sw::Offload from_c(const rp_offload& o) {
  return {o.flags, o.gso_type, o.hdr_len, o.gso_size, o.csum_start, o.csum_offset};
}

rp_offload to_c(const sw::Offload& o) {
  return {o.flags, o.gso_type, o.hdr_len, o.gso_size, o.csum_start, o.csum_offset};
}

std::unique_ptr<rp_plug> join(std::shared_ptr<Fabric> fabric, const rp_plug_options& o) {
  auto memory = backend::PlugMemory::create();
  auto port = std::make_unique<backend::RingPort>(memory.duplicate(), offloads_of(o.offloads));
  auto plug = std::make_unique<rp_plug>(std::move(memory));
  plug->fabric = std::move(fabric);
  plug->port = plug->fabric->plug_in(std::move(port), o.name ? o.name : "plug");
  return plug;
}

/// A plug on a private switch with a port to what the locator names.
std::unique_ptr<rp_plug> plug_with_switch(const backend::Locator& locator,
                                          const rp_plug_options& o) {
  rp_switch_options s RP_SWITCH_OPTIONS_INIT;
  s.poll_us = o.poll_us;
  auto fabric = std::make_shared<Fabric>(loop_options(s), Log(o.log, o.log_opaque));
  add_locator(*fabric, locator, false, nullptr);
  auto plug = join(std::move(fabric), o);
  plug->owns_fabric = true;
  return plug;
}

/// A plug on the switch that the locator names; null: it names none.
std::unique_ptr<rp_plug> plug_linked(const backend::Locator& locator, const rp_plug_options& o) {
  const auto link = backend::mode_of(locator).link;
  if (!link) return nullptr;
  auto plug = std::make_unique<rp_plug>(backend::PlugMemory::create());
  auto linked = link(locator, plug->plug, offloads_of(o.offloads), Log(o.log, o.log_opaque));
  if (!linked) return nullptr;
  plug->remote = std::make_unique<Remote>(std::move(linked));
  return plug;
}

bool usable(const rp_plug* p) {
  return p && p->here();
}
/// Why a call on this plug can't be made at all; RP_OK: it can.
int unusable(const rp_plug* p) {
  if (!p) return RP_EINVALID;
  return p->here() ? RP_OK : RP_ECLOSED;
}
/// Nobody will ever take what is sent.
bool deaf(const rp_plug& p) {
  return p.closed() || p.plug.send_broken();
}
bool sendable(std::size_t length) {
  return length > 0 && length <= RP_MAX_FRAME;
}

/// Takes up to `n` frames, handing each to fn(i, frame).
template <typename Fn>
std::size_t take(rp_plug& p, std::size_t n, Fn&& fn) {
  std::array<backend::Plug::Received, sw::Burst::kFrames> batch;
  std::size_t taken = 0;
  p.peeked = 0;
  while (taken < n) {
    const auto want = std::min(n - taken, batch.size());
    const std::size_t got = p.plug.peek({batch.data(), want});
    if (got == 0) break;
    for (std::size_t i = 0; i < got; ++i) fn(taken + i, batch[i]);
    p.plug.release(got);
    taken += got;
  }
  return taken;
}

}  // namespace

extern "C" {

int rp_plug_open(const char* locator, const rp_plug_options* options, rp_plug** out,
                 rp_error* err) {
  return guarded(err, [&] {
    if (!out) throw Error(Errc::invalid, "the place for the plug is NULL");
    const auto o = versioned(options, rp_plug_options RP_PLUG_OPTIONS_INIT);
    auto named = locator_of(locator);
    backend::suggest_mtu(named, o.mtu);
    auto plug = plug_linked(named, o);
    if (!plug) plug = plug_with_switch(named, o);
    *out = plug.release();
  });
}

int rp_plug_join(rp_switch* sw, const rp_plug_options* options, rp_plug** out, rp_error* err) {
  return guarded(err, [&] {
    if (!sw || !out) throw Error(Errc::invalid, "the switch or the place for the plug is NULL");
    if (!sw->here())
      throw Error(Errc::closed, "the switch belongs to the process that made it, before fork()");
    const auto o = versioned(options, rp_plug_options RP_PLUG_OPTIONS_INIT);
    *out = join(sw->fabric, o).release();
  });
}

void rp_plug_close(rp_plug* plug) {
  if (!usable(plug)) return;
  guarded(nullptr, [&] {
    if (plug->owns_fabric)
      plug->fabric->close();
    else if (plug->fabric)
      plug->fabric->unplug(plug->port);
  });
  delete plug;
}

int rp_plug_fd(const rp_plug* plug) {
  return usable(plug) ? plug->plug.fd() : -1;
}

rp_port rp_plug_port(const rp_plug* plug) {
  return plug ? plug->port : sw::kNoPort;
}

int rp_plug_counters(rp_plug* plug, rp_counter_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    if (!plug) throw Error(Errc::invalid, "the plug is NULL");
    if (!usable(plug))
      throw Error(Errc::closed, "the plug belongs to the process that made it, before fork()");
    if (!fn) throw Error(Errc::invalid, "the callback is NULL");
    if (plug->fabric) count(*plug->fabric, fn, opaque);
  });
}

ssize_t rp_plug_send(rp_plug* plug, const void* frame, size_t length) {
  if (const int code = unusable(plug)) return code;
  if (!frame || !sendable(length)) return RP_EINVALID;
  plug->reserved = 0;
  if (deaf(*plug)) return RP_ECLOSED;
  const bool sent = plug->plug.send({static_cast<const std::uint8_t*>(frame), length}, {});
  plug->plug.kick();
  return sent ? static_cast<ssize_t>(length) : ssize_t{RP_ERESOURCES};
}

ssize_t rp_plug_recv(rp_plug* plug, void* buffer, size_t capacity) {
  if (const int code = unusable(plug)) return code;
  if (!buffer && capacity != 0) return RP_EINVALID;
  // Asked before looking: what was sent until then is seen by the look.
  ssize_t length = plug->closed() ? RP_ECLOSED : 0;
  const auto taken = take(*plug, 1, [&](std::size_t, const backend::Plug::Received& f) {
    length = static_cast<ssize_t>(f.bytes.size());
    if (const auto n = std::min(capacity, f.bytes.size()); n != 0)
      std::memcpy(buffer, f.bytes.data(), n);
  });
  return taken == 0 && plug->plug.recv_broken() ? ssize_t{RP_ECLOSED} : length;
}

size_t rp_plug_send_batch(rp_plug* plug, const rp_frame* frames, size_t n) {
  if (!usable(plug) || !frames) return 0;
  plug->reserved = 0;
  if (deaf(*plug)) return 0;
  size_t sent = 0;
  for (; sent < n; ++sent) {
    const rp_frame& f = frames[sent];
    if (!f.data || !sendable(f.length) ||
        !plug->plug.send({static_cast<const std::uint8_t*>(f.data), f.length}, from_c(f.offload)))
      break;
  }
  plug->plug.kick();
  return sent;
}

size_t rp_plug_recv_batch(rp_plug* plug, rp_frame* frames, size_t n) {
  if (!usable(plug) || !frames) return 0;
  return take(*plug, n, [&](std::size_t i, const backend::Plug::Received& f) {
    const auto fits = std::min(frames[i].length, f.bytes.size());
    if (fits != 0 && frames[i].data) std::memcpy(frames[i].data, f.bytes.data(), fits);
    frames[i].length = f.bytes.size();
    frames[i].offload = to_c(f.offload);
  });
}

void* rp_plug_reserve(rp_plug* plug, size_t length) {
  if (!usable(plug)) return nullptr;
  plug->reserved = 0;
  if (!sendable(length) || deaf(*plug)) return nullptr;
  std::uint8_t* place = plug->plug.reserve(static_cast<std::uint32_t>(length));
  plug->reserved = place ? length : 0;
  return place;
}

int rp_plug_commit(rp_plug* plug, size_t length, const rp_offload* offload) {
  if (const int code = unusable(plug)) return code;
  if (length == 0 || length > plug->reserved) return RP_EINVALID;
  plug->reserved = 0;
  if (deaf(*plug)) return RP_ECLOSED;
  plug->plug.commit(static_cast<std::uint32_t>(length), offload ? from_c(*offload) : sw::Offload{});
  return RP_OK;
}

void rp_plug_kick(rp_plug* plug) {
  if (usable(plug)) plug->plug.kick();
}

size_t rp_plug_peek(rp_plug* plug, rp_frame* frames, size_t n) {
  if (!usable(plug) || !frames) return 0;
  std::array<backend::Plug::Received, sw::Burst::kFrames> batch;
  plug->peeked = plug->plug.peek({batch.data(), std::min(n, batch.size())});
  for (std::size_t i = 0; i < plug->peeked; ++i) {
    const auto& f = batch[i];
    frames[i] = {const_cast<std::uint8_t*>(f.bytes.data()), f.bytes.size(), to_c(f.offload)};
  }
  plug->plug.keep();
  return plug->peeked;
}

int rp_plug_release(rp_plug* plug, size_t n) {
  if (const int code = unusable(plug)) return code;
  if (n > plug->peeked) return RP_EINVALID;
  plug->peeked = 0;
  plug->plug.release(n);
  return RP_OK;
}

}  // extern "C"
