// SPDX-License-Identifier: BSD-3-Clause
// tun_ioctl.cc - the ioctls of /dev/net/tun and its kin.
#include "tap/tun_ioctl.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/error.h"

namespace rp::tap {
namespace {

constexpr const char* kNode = "/dev/net/tun";
/// linux/if_tun.h of Linux 6.2; Debian 12's has no names for them yet.
constexpr unsigned kUso4 = 0x20, kUso6 = 0x40;
constexpr unsigned kFinished = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

std::string mode_of(const char* path) {
  struct stat s;
  if (stat(path, &s) != 0) return "?";
  char text[8];
  std::snprintf(text, sizeof text, "%04o", s.st_mode & 07777u);
  return text;
}

}  // namespace

Fd open_tun_node(const std::string& what) {
  Fd fd(open(kNode, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd) return fd;
  const int err = errno;
  if (err == EACCES || err == EPERM)
    throw Error(Errc::denied, what + ": " + kNode + " has mode " + mode_of(kNode) +
                                  " and may not be opened by this user: chmod 0666 " + kNode +
                                  ", as udev does, or hand in a descriptor by fd=");
  if (err == ENOENT || err == ENODEV || err == ENXIO)
    throw Error(Errc::unsupported, what + ": there is no usable " + kNode +
                                       ": modprobe tun; in a container, let it have the device");
  throw_errno(what + ": opening " + kNode, err);
}

int set_interface(const Fd& fd, std::string& name, unsigned flags) noexcept {
  ifreq r{};
  std::copy_n(name.data(), std::min<std::size_t>(name.size(), IFNAMSIZ - 1), r.ifr_name);
  r.ifr_flags = static_cast<short>(flags);
  if (ioctl(fd.get(), TUNSETIFF, &r) != 0) return errno;
  name.assign(r.ifr_name);
  return 0;
}

bool still_there(const Fd& fd) noexcept {
  ifreq r{};
  return ioctl(fd.get(), TUNGETIFF, &r) == 0;
}

sw::Offloads set_offloads(const Fd& fd, bool header) noexcept {
  if (!header) {
    ioctl(fd.get(), TUNSETOFFLOAD, 0);
    return {};
  }
  if (ioctl(fd.get(), TUNSETOFFLOAD, kFinished | kUso4 | kUso6) == 0)
    return {true, true, true, true, true};
  if (ioctl(fd.get(), TUNSETOFFLOAD, kFinished) == 0) return {true, true, true, true, false};
  ioctl(fd.get(), TUNSETOFFLOAD, 0);
  return {true, false, false, false, false};
}

void set_header_size(const Fd& fd, std::size_t size, const std::string& what) {
  const int n = static_cast<int>(size);
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &n) != 0) throw_errno(what + ": TUNSETVNETHDRSZ", errno);
}

}  // namespace rp::tap
