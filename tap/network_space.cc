// SPDX-License-Identifier: BSD-3-Clause
// network_space.cc - the child that opens descriptors elsewhere.
#include "tap/network_space.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/quiet_child.h"
#include "tap/netlink.h"
#include "tap/pass_fd.h"

namespace rp::tap {
namespace {

constexpr int kPatienceMs = 10000;

/// Exit status of the child: how far it got.
enum Stage : int { kDone, kUser, kNet, kTun, kNetlink, kStages };

/// In the child: only async-signal-safe calls.
int visit(int user, int net, int socket, bool tun) noexcept {
  const auto give = [&](Fd fd) { return fd && send_fd(socket, fd.get()); };
  const auto stopped_at = [&](Stage stage) {
    const int err = errno;
    [[maybe_unused]] const auto n = write(socket, &err, sizeof err);
    return stage;
  };
  if (user >= 0 && setns(user, CLONE_NEWUSER) != 0) return stopped_at(kUser);
  if (setns(net, CLONE_NEWNET) != 0) return stopped_at(kNet);
  if (tun && !give(Fd(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC))))
    return stopped_at(kTun);
  for (int i = 0; i < 2; ++i)
    if (!give(Fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE))))
      return stopped_at(kNetlink);
  return kDone;
}

bool same_file(const Fd& fd, const char* path) {
  struct stat a, b;
  return fstat(fd.get(), &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

Fd open_namespace(const std::string& path, const std::string& what) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && (errno == EACCES || errno == EPERM))
    throw Error(Errc::denied,
                what + ": " + path + " is another user's: run as that user or as root");
  if (!fd) throw_errno(what + ": " + path, errno);
  if (ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    throw Error(Errc::invalid, what + ": " + path + " is no network namespace");
  return fd;
}

}  // namespace

NetworkSpace::NetworkSpace(const std::string& target, std::string what) : what_(std::move(what)) {
  int pid = 0;
  const auto [end, error] = std::from_chars(target.data(), target.data() + target.size(), pid);
  std::string path = target;
  if (error == std::errc() && end == target.data() + target.size()) {
    process_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
    if (!process_) throw Error(Errc::not_found, what_ + ": there is no process " + target);
    path = "/proc/" + target + "/ns/net";
  }
  net_ = open_namespace(path, what_);
  // Its number may have been another's by the time the file was opened.
  pollfd ended{process_.get(), POLLIN, 0};
  if (process_ && poll(&ended, 1, 0) != 0)
    throw Error(Errc::not_found, what_ + ": there is no process " + target);
  user_.reset(ioctl(net_.get(), NS_GET_USERNS));
  if (user_ && same_file(user_, "/proc/self/ns/user")) user_.reset();
}

NetworkSpace::Tools NetworkSpace::open_tools(Tun tun) const {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) throw_errno(what_, errno);
  const Fd ours(sockets[0]);
  Fd theirs(sockets[1]);
  const int stage =
      in_quiet_child([&] { return visit(user_.get(), net_.get(), theirs.get(), tun == Tun::yes); });
  if (stage < 0) throw_errno(what_ + ": starting a process", errno);
  theirs.reset();
  Tools t;
  for (Fd* fd : {&t.tun, &t.netlink, &t.monitor}) {
    if (fd == &t.tun && tun == Tun::no) continue;
    // A child that failed sends what it had, and then a number instead.
    if (stage > kDone && stage <= kTun) break;
    *fd = receive_fd(ours.get(), kPatienceMs);
  }
  if (stage == kDone && t.monitor) return t;
  int err = EIO;
  [[maybe_unused]] const auto n = recv(ours.get(), &err, sizeof err, MSG_DONTWAIT);
  constexpr std::array<const char*, kStages> kWhere = {
      "opening descriptors there", "joining its user namespace", "joining the namespace",
      "opening /dev/net/tun there", "opening a netlink socket there"};
  const std::string where = stage < kStages ? kWhere[static_cast<std::size_t>(stage)] : "a child";
  if (stage == kTun && (err == EACCES || err == EPERM))
    throw Error(Errc::denied,
                what_ + ": " + where + " is not allowed: chmod 0666 /dev/net/tun, as udev does");
  if (stage == kTun && (err == ENOENT || err == ENODEV || err == ENXIO))
    throw Error(Errc::unsupported, what_ + ": there is no usable /dev/net/tun: modprobe tun");
  if ((stage == kUser || stage == kNet) && err == EPERM)
    throw Error(Errc::denied,
                what_ + ": " + where + " takes the user who made it, or CAP_SYS_ADMIN");
  throw_errno(what_ + ": " + where, err);
}

}  // namespace rp::tap
