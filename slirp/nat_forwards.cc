// SPDX-License-Identifier: BSD-3-Clause
// nat_forwards.cc - opens hostfwd and guestfwd, and says who is in the way when one can't be.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "base/port_holder.h"
#include "slirp/forward.h"
#include "slirp/nat.h"

namespace rp::slirp {
namespace {

socklen_t length_of(const sockaddr_storage& a) {
  if (a.ss_family == AF_UNIX) return sizeof(sockaddr_un);
  return a.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
}

unsigned port_of(const sockaddr_storage& a) {
  return ntohs(a.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(a).sin6_port
                                       : reinterpret_cast<const sockaddr_in&>(a).sin_port);
}

const char* path_of(const HostForward& f) {
  return reinterpret_cast<const sockaddr_un&>(f.host).sun_path;
}

[[noreturn]] void fail(const HostForward& f, int error) {
  const std::string what = "slirp: hostfwd=" + f.text;
  const auto& host = reinterpret_cast<const sockaddr&>(f.host);
  if (error == EADDRINUSE && f.proto != HostForward::Proto::unix)
    throw Error(Errc::busy, what + ": port " + std::to_string(port_of(f.host)) + " is taken" +
                                port_holder(host, f.proto == HostForward::Proto::udp) +
                                "; choose another, or 0 for a free one");
  if (error == EACCES && f.proto != HostForward::Proto::unix)
    throw Error(Errc::denied, what +
                                  ": ports below net.ipv4.ip_unprivileged_port_start need "
                                  "CAP_NET_BIND_SERVICE; choose one of 1024 or more");
  if (error == EADDRNOTAVAIL)
    throw Error(Errc::not_found, what + ": this host has no such address");
  throw_errno(what, error);
}

void check_guest(const HostForward& f, const Config& c) {
  const std::string what = "slirp: hostfwd=" + f.text;
  if (f.guest.ss_family == AF_INET6) {
    const auto& a = reinterpret_cast<const sockaddr_in6&>(f.guest).sin6_addr;
    if (!c.ipv6) throw Error(Errc::invalid, what + ": ipv6 is off");
    if (!IN6_IS_ADDR_UNSPECIFIED(&a) && !in_prefix(c, a))
      throw Error(Errc::invalid, what + ": the guest's address is not in its network");
  } else {
    const auto a = reinterpret_cast<const sockaddr_in&>(f.guest).sin_addr.s_addr;
    if (!c.ipv4) throw Error(Errc::invalid, what + ": ipv4 is off");
    if (a != 0 && (a & c.mask.s_addr) != c.net.s_addr)
      throw Error(Errc::invalid, what + ": the guest's address is not in its network");
  }
}

}  // namespace

/// Takes away a socket that a dead process left; a live one is never touched.
void Nat::prepare_unix_path(const HostForward& f) {
  struct stat st;
  if (lstat(path_of(f), &st) != 0) return;
  if (!S_ISSOCK(st.st_mode))
    throw Error(Errc::busy, "slirp: hostfwd=" + f.text + ": the path exists and is no socket");
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) throw_errno("slirp: hostfwd=" + f.text, errno);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&f.host), sizeof(sockaddr_un)) == 0 ||
      errno == EAGAIN)
    throw Error(Errc::busy, "slirp: hostfwd=" + f.text + ": another process listens there");
  if (errno != ECONNREFUSED) throw_errno("slirp: hostfwd=" + f.text, errno);
  unlink(path_of(f));
}

void Nat::add_hostfwd(const HostForward& f, const Config& config) {
  check_guest(f, config);
  const bool unix_socket = f.proto == HostForward::Proto::unix;
  if (unix_socket) {
    prepare_unix_path(f);
    // libslirp ends the process when it gets no descriptor for such a forward.
    if (Flows::descriptors_scarce())
      throw Error(Errc::resources, "slirp: hostfwd=" + f.text +
                                       ": too few descriptors are left; raise RLIMIT_NOFILE");
  }
  int flags = f.proto == HostForward::Proto::udp ? SLIRP_HOSTFWD_UDP : 0;
  if (f.host.ss_family == AF_INET6) flags |= SLIRP_HOSTFWD_V6ONLY;
  if (slirp_add_hostxfwd(slirp_.get(), reinterpret_cast<const sockaddr*>(&f.host),
                         length_of(f.host), reinterpret_cast<const sockaddr*>(&f.guest),
                         length_of(f.guest), flags) != 0)
    fail(f, errno);
  forwards_ = true;
  struct stat st;
  if (unix_socket && lstat(path_of(f), &st) == 0)
    unix_forwards_.push_back({path_of(f), st.st_dev, st.st_ino});
  if (!unix_socket && port_of(f.host) == 0) announce_port(f);
}

/// Tells which port the kernel chose for a forward from port 0.
void Nat::announce_port(const HostForward& f) {
  const std::vector<int> before = listeners_;
  fill();
  for (int fd : listeners_) {
    if (std::find(before.begin(), before.end(), fd) != before.end()) continue;
    sockaddr_storage a{};
    socklen_t len = sizeof a;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&a), &len) == 0 && a.ss_family != AF_UNIX)
      log_.warning("slirp: hostfwd=", f.text, " listens on port ", port_of(a));
  }
}

void Nat::add_guestfwd(const GuestForward& f, const Config& config) {
  const std::string what = "slirp: guestfwd=" + f.text;
  if (!config.ipv4) throw Error(Errc::invalid, what + ": ipv4 is off");
  std::string path;
  try {
    if (f.target == GuestForward::Target::command) {
      commands_.push_back(std::make_unique<Command>(f.value, config.max_flows));
      path = commands_.back()->path();
    } else {
      relays_.push_back(std::make_unique<UnixRelay>(f.value));
      path = relays_.back()->path();
    }
  } catch (const Error& e) {
    throw Error(e.code(), what + ": " + e.what());
  }
  in_addr address = f.address;
  if (slirp_add_unix(slirp_.get(), path.c_str(), &address, f.port) != 0)
    throw Error(Errc::invalid, what +
                                   ": the address is the gateway's or the name server's, or "
                                   "another guestfwd has it");
  flows_.add_service(ntohl(address.s_addr), f.port);
  forwards_ = true;
}

Nat::~Nat() {
  close();
}

/// Everything that outlives a process' descriptors goes too: the UNIX sockets' names.
void Nat::close() noexcept {
  slirp_.reset();
  for (const auto& u : unix_forwards_) {
    struct stat st;
    if (lstat(u.path.c_str(), &st) == 0 && st.st_dev == u.device && st.st_ino == u.inode)
      unlink(u.path.c_str());
  }
}

}  // namespace rp::slirp
