// SPDX-License-Identifier: BSD-3-Clause
// needs.cc - sockets that are made, given away and removed, and the modules of libvdeplug.
#include "sockets/needs.h"

#include <sys/socket.h>
#include <unistd.h>

#include "sockets/stream_address.h"

namespace rp::sockets {
namespace {

constexpr const char* kVdeDoorCalls[] = {
    "open",   "openat",     "getdents64", "mkdir",    "mkdirat", "rmdir",    "unlink", "lstat",
    "stat",   "newfstatat", "statx",      "chmod",    "fchmod",  "fchmodat", "chown",  "lchown",
    "fchown", "fchownat",   "flock",      "readlink", "bind",    "connect",  "socket"};
/// Root's door serves other users: it looks into their folders, and gives each the socket that is
/// made for it.
constexpr const char* kVdeDoorCapabilities[] = {"chown", "dac_override", "fowner"};
constexpr const char* kDgramDoorCalls[] = {"bind", "fchmod", "rename", "renameat", "renameat2"};

}  // namespace

void tell_listener_needs(const std::string& path, const NeedSink& sink) {
  sink(Need::remove, folder_of(path));
}

void tell_dgram_needs(const DgramOptions& o, bool door, const NeedSink& sink) {
  if (!parse_address("dgram", o.target, SOCK_DGRAM).is_unix()) {
    sink(Need::family, "inet");
    sink(Need::family, "inet6");
    return;
  }
  // Peers may have no file, and the other way round another user's.
  sink(Need::family, "abstract");
  tell_reaching_needs(sink);
  // A door gives its socket away, and binds another.
  tell_needs(sink, Need::call, kDgramDoorCalls);
  if (door) sink(Need::folder, folder_of(o.target));
  if (!o.local.empty()) tell_listener_needs(o.local, sink);
}

void tell_vde_door_needs(const VdeDoorOptions& o, const NeedSink& sink) {
  tell_needs(sink, Need::call, kVdeDoorCalls);
  if (geteuid() == 0) tell_needs(sink, Need::capability, kVdeDoorCapabilities);
  // User-mode Linux and Bochs give such addresses.
  sink(Need::family, "abstract");
  sink(Need::folder, o.path);
  sink(Need::remove, folder_of(o.path));
  if (!o.alias.empty()) tell_listener_needs(o.alias, sink);
}

void tell_vde_uplink_needs(const VdeUplinkOptions& o, const NeedSink& sink) {
  // Which module opens it is libvdeplug's to know, and each connection is opened anew.
  sink(Need::code, "libvdeplug, for vde:" + o.url);
}

void tell_stream_needs(const StreamOptions& o, bool door, const NeedSink& sink) {
  const SocketAddress a = parse_stream_address(o.target);
  if (a.is_unix()) {
    if (door)
      tell_listener_needs(o.target, sink);
    else
      tell_dialing_needs(sink);
    return;
  }
  sink(Need::family, "inet");
  sink(Need::family, "inet6");
}

}  // namespace rp::sockets
