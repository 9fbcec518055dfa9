// SPDX-License-Identifier: BSD-3-Clause
// needs.cc - libslirp's calls, the resolver's file, what forwards and TFTP reach.
#include "slirp/needs.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

namespace rp::slirp {
namespace {

/// libslirp reads resolv.conf whenever it was changed.
constexpr const char* kCalls[] = {"open",  "openat", "openat2", "stat",  "lstat",    "newfstatat",
                                  "fstat", "lseek",  "read",    "close", "readlink", "unlink"};

/// Where this process may open no ping socket, a guest's pings take a raw one.
bool may_ping() {
  return Fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP)).get() >= 0;
}

}  // namespace

void tell_needs(const Config& c, const NeedSink& sink) {
  rp::tell_needs(sink, Need::call, kCalls);
  sink(Need::family, "inet");
  sink(Need::family, "inet6");
  sink(Need::read, "/etc/resolv.conf");
  // A name server with a scope, as in fe80::1%eth0.
  sink(Need::ioctl, std::to_string(SIOCGIFINDEX));
  if (!may_ping()) sink(Need::capability, "net_raw");
  if (!c.tftp.empty()) sink(Need::read, c.tftp);
  for (const HostForward& f : c.hostfwd)
    if (f.proto == HostForward::Proto::unix)
      sink(Need::remove, folder_of(reinterpret_cast<const sockaddr_un&>(f.host).sun_path));
  for (const GuestForward& f : c.guestfwd)
    if (f.target == GuestForward::Target::command)
      sink(Need::code, "guestfwd=" + f.text);
    else
      tell_dialing_needs(sink);
}

}  // namespace rp::slirp
