// SPDX-License-Identifier: BSD-3-Clause
// port_holder.cc - finds the socket's inode in /proc/net and its owner in /proc/PID/fd.
#include "base/port_holder.h"

#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/folder_names.h"

namespace rp {
namespace {

constexpr unsigned kTcpListen = 0x0a;

/// The inode of the socket that is bound to `port`, from one of /proc/net's tables; empty: none.
std::string bound_inode(const std::string& table, unsigned port, bool udp) {
  std::ifstream in("/proc/net/" + table);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, skip, inode;
    fields >> slot >> local >> remote >> state >> skip >> skip >> skip >> skip >> skip >> inode;
    const auto colon = local.rfind(':');
    if (colon == local.npos || inode == "0") continue;
    if (std::stoul(local.substr(colon + 1), nullptr, 16) != port) continue;
    if (udp || std::stoul(state, nullptr, 16) == kTcpListen) return inode;
  }
  return {};
}

/// False also for a process that ends, or is somebody else's.
bool holds(const std::string& descriptors, const std::string& wanted) {
  std::vector<std::string> names;
  try {
    names = names_in(descriptors);
  } catch (const Error&) {
    return false;
  }
  return std::any_of(names.begin(), names.end(), [&](const std::string& fd) {
    std::array<char, 64> target;
    const ssize_t n = readlink((descriptors + fd).c_str(), target.data(), target.size());
    return n > 0 && std::string_view(target.data(), static_cast<std::size_t>(n)) == wanted;
  });
}

std::string owner_of(const std::string& inode) {
  const std::string wanted = "socket:[" + inode + "]";
  for (const std::string& pid : names_in("/proc")) {
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    const std::string process = "/proc/" + pid;
    if (!holds(process + "/fd/", wanted)) continue;
    std::string name;
    std::getline(std::ifstream(process + "/comm"), name);
    return " by pid " + pid + " (" + name + ")";
  }
  return {};
}

}  // namespace

std::string port_holder(const sockaddr& address, bool udp) {
  unsigned port = 0;
  if (address.sa_family == AF_INET)
    port = ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  else if (address.sa_family == AF_INET6)
    port = ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  else
    return {};
  try {
    // A listener on the other family's wildcard address holds the port as well.
    for (const char* version : {"", "6"}) {
      const std::string inode =
          bound_inode((udp ? "udp" : "tcp") + std::string(version), port, udp);
      if (!inode.empty()) return owner_of(inode);
    }
  } catch (const std::exception&) {
    // The message goes without the holder.
  }
  return {};
}

}  // namespace rp
