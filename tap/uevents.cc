// SPDX-License-Identifier: BSD-3-Clause
// uevents.cc - reads NETLINK_KOBJECT_UEVENT, opens a node by its number.
#include "tap/uevents.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "tap/netlink.h"

namespace rp::tap {
namespace {

constexpr int kPatienceMs = 2000;
/// The group of the kernel's own announcements; 2 is udev's.
constexpr unsigned kKernel = 1;

/// The value behind KEY= in a message of NUL-terminated words; empty: it is not there.
std::string_view value_of(std::string_view message, std::string_view key) {
  while (!message.empty()) {
    const auto end = message.find('\0');
    const std::string_view word = message.substr(0, end);
    if (word.size() > key.size() && word.substr(0, key.size()) == key && word[key.size()] == '=')
      return word.substr(key.size() + 1);
    if (end == message.npos) break;
    message.remove_prefix(end + 1);
  }
  return {};
}

unsigned number_in(std::string_view text) {
  unsigned n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

bool is_node(const char* path, dev_t number) {
  struct stat s;
  return stat(path, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == number;
}

Fd open_path(const char* path) {
  return Fd(open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC));
}

/// A node of our own for as long as it takes to open it.
Fd open_number(dev_t number) {
  char folder[] = "/tmp/ringplug-node-XXXXXX";
  if (!mkdtemp(folder)) return {};
  const std::string path = std::string(folder) + "/node";
  Fd fd;
  int why = 0;
  if (mknod(path.c_str(), S_IFCHR | 0600, number) == 0) {
    fd = open_path(path.c_str());
    why = errno;
    unlink(path.c_str());
  } else {
    why = errno;
  }
  rmdir(folder);
  errno = why;
  return fd;
}

}  // namespace

Uevents::Uevents()
    : socket_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)) {
  if (!socket_) throw_errno("opening a socket for announcements of devices", errno);
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  own.nl_groups = kKernel;
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
    throw_errno("listening for announcements of devices", errno);
}

void Uevents::find(const std::string& kind, const std::string& name, const std::string& what) {
  if (found_ == name) return;
  const std::string wanted = "/" + name + "/" + kind + "/";
  std::array<char, 8192> bytes;
  pollfd p{socket_.get(), POLLIN, 0};
  while (poll(&p, 1, kPatienceMs) > 0) {
    const ssize_t n = receive_from_kernel(socket_.get(), bytes.data(), bytes.size());
    if (n <= 0) continue;
    const std::string_view message(bytes.data(), static_cast<std::size_t>(n));
    if (value_of(message, "ACTION") != "add" ||
        value_of(message, "DEVPATH").find(wanted) == std::string_view::npos)
      continue;
    major_ = number_in(value_of(message, "MAJOR"));
    minor_ = number_in(value_of(message, "MINOR"));
    found_ = name;
    return;
  }
  throw Error(Errc::system, what + ": the kernel announced no node for " + name);
}

Fd Uevents::open_node(const std::string& kind, const std::string& name, unsigned index,
                      const std::string& what) {
  find(kind, name, what);
  const dev_t number = makedev(major_, minor_);
  const std::string path = "/dev/tap" + std::to_string(index);
  Fd fd;
  errno = ENOENT;
  if (is_node(path.c_str(), number)) fd = open_path(path.c_str());
  if (!fd && (errno == ENOENT || errno == EACCES || errno == EPERM)) fd = open_number(number);
  if (fd) return fd;
  if (errno == EPERM || errno == EACCES)
    throw Error(Errc::denied, what + ": its node " + path +
                                  " may not be opened, nor another made: let udev give it to this "
                                  "user, or run as root");
  throw_errno(
      what + ": opening its node, number " + std::to_string(major_) + ":" + std::to_string(minor_),
      errno);
}

}  // namespace rp::tap
