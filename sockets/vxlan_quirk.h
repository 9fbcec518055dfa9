// SPDX-License-Identifier: BSD-3-Clause
// vxlan_quirk.h - a defect of libvdeplug's vxlan module, made good.
#pragma once

#include <sys/types.h>

#include <string_view>

struct vdeconn;

namespace rp::sockets {

/// True for the URLs that receive by vxlan_recv().
inline bool needs_vxlan_recv(std::string_view url) noexcept {
  return url.find("vxlan://") != url.npos;  // another module may stand around it
}

/// As vde_recv(). As far as libvdeplug 4.0.1 the module tells recvmsg() how much room there is for
/// the sender's address by the family of an address that it never wrote to. Where its stack holds
/// neither AF_INET nor AF_INET6 there, it learns a station without an address, and what goes to
/// that fails. So this leaves AF_INET6, whose addresses are the longer ones, all over the stack
/// that the module is about to use.
ssize_t vxlan_recv(vdeconn* conn, void* frame, std::size_t size) noexcept;

}  // namespace rp::sockets
