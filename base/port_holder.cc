// SPDX-License-Identifier: BSD-3-Clause
// port_holder.cc - finds the socket's inode in /proc/net and its owner in /proc/PID/fd.
#include "base/port_holder.h"

#include <netinet/in.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace rp {
namespace {

namespace fs = std::filesystem;

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

std::string owner_of(const std::string& inode) {
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code ignored;
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != pid.npos) continue;
    std::error_code closed;
    for (const auto& fd : fs::directory_iterator(process.path() / "fd", closed)) {
      std::error_code gone;
      if (fs::read_symlink(fd.path(), gone).string() != wanted) continue;
      std::string name;
      std::getline(std::ifstream(process.path() / "comm"), name);
      return " by pid " + pid + " (" + name + ")";
    }
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
