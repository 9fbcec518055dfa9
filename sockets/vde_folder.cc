// SPDX-License-Identifier: BSD-3-Clause
// vde_folder.cc - makes, checks and clears the folder, and listens in it.
#include "sockets/vde_folder.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/folder_names.h"

namespace rp::sockets {
namespace {

namespace fs = std::filesystem;

/// Clients that connect at the same moment; more wait inside connect().
constexpr int kBacklog = 128;
/// "/65535.1048576" is the longest name in the folder.
constexpr std::size_t kLongestName = 14;
constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1 - kLongestName;
/// Tries to make and open the folder, which a switch that ends may be taking away.
constexpr int kTries = 10;

bool digits(const std::string& s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whether a switch or its clients give sockets such a name: NNN.FD or .PID-N.
bool is_data_name(const std::string& name) {
  const std::size_t client = name.starts_with('.') ? 1 : 0;
  const auto at = name.find(client ? '-' : '.', client);
  if (at == name.npos) return false;
  return digits(name.substr(client, at - client)) && digits(name.substr(at + 1));
}

bool is_socket(const std::string& path) {
  struct stat s;
  return lstat(path.c_str(), &s) == 0 && S_ISSOCK(s.st_mode);
}

bool is_there(const std::string& path) {
  struct stat s;
  return lstat(path.c_str(), &s) == 0;
}

/// Nobody reads from it.
bool is_dead(const std::string& path) {
  const Fd probe(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (!probe || path.size() >= sizeof a.sun_path) return false;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  return connect(probe.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0 &&
         errno == ECONNREFUSED;
}

std::string absolute(const std::string& path, const std::string& what) {
  if (path.empty()) throw Error(Errc::invalid, what + ": no path, as in vde:/tmp/lan0");
  std::error_code error;
  const auto a = fs::absolute(path, error);
  if (error) throw_errno(what, error.value());
  return a;
}

std::vector<std::string> names_of(const std::string& folder, const std::string& what) {
  try {
    return names_in(folder);
  } catch (const Error& e) {
    throw Error(e.code(), what + ": " + e.what());
  }
}

void check_length(const std::string& path, const std::string& what) {
  if (path.size() > kLongestPath)
    throw Error(Errc::invalid, what + ": " + path + " is longer than " +
                                   std::to_string(kLongestPath) + " bytes, which is as long as " +
                                   "the folder of a VDE switch may be: sockets lie in it");
}

}  // namespace

VdeFolder::VdeFolder(const std::string& path, const VdeAccess& access, const std::string& what)
    : what_(what), path_(absolute(path, what)), access_(access) {
  check_length(path_, what_);
  for (int i = 0; !held_ && i < kTries; ++i) {
    // Copied before there is a folder that it would have to remove.
    std::string mine = path_;
    ours_.disown();  // somebody took it away
    if (mkdir(path_.c_str(), 0700) == 0)
      ours_ = OwnedPath(std::move(mine));
    else if (errno != EEXIST)
      throw_errno(what_ + ": making " + path_, errno);
    held_.reset(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!held_ && errno == ENOTDIR)
      throw Error(Errc::invalid, what_ + ": " + path_ + " exists and is no folder; a bare socket " +
                                     "beside the folder is sock=" + path_);
    if (!held_ && errno != ENOENT) throw_errno(what_ + ": " + path_, errno);
  }
  char real[PATH_MAX];
  if (!held_ || !realpath(path_.c_str(), real)) throw_errno(what_ + ": " + path_, errno);
  path_ = real;
  ours_.rename(path_);
  check_length(path_, what_);
  for (const std::string& name : names_of(path_, what_)) {
    stale_ = stale_ || name == "ctl";
    const std::string at = path_ + "/" + name;
    if (name == "ctl" || (is_data_name(name) && is_socket(at)) || !is_there(at)) continue;
    throw Error(Errc::invalid, what_ + ": " + path_ + " holds something else, such as " + name +
                                   "; name a folder that is empty or is not there yet");
  }
}

UnixListener VdeFolder::listen_at(const std::string& path) {
  UnixListener l(unix_address(path, what_), kBacklog, what_);
  set_access(path, static_cast<uid_t>(-1), access_.group, access_.mode, what_);
  return l;
}

UnixListener VdeFolder::listen() {
  UnixListener l = listen_at(control());
  // Whoever died here would have taken the folder away.
  if (stale_) ours_ = OwnedPath(path_);
  for (const std::string& name : names_of(path_, what_)) {
    const std::string at = path_ + "/" + name;
    if (is_data_name(name) && is_socket(at) && is_dead(at)) unlink(at.c_str());
  }
  // Last: until here nobody else could enter a folder that was made for this.
  if (access_.given || ours_.path() == path_)
    set_access(path_, static_cast<uid_t>(-1), access_.group, access_.dirmode, what_);
  return l;
}

UnixListener VdeFolder::listen_on(const std::string& alias) {
  return listen_at(absolute(alias, what_));
}

bool VdeFolder::admits(const Fd& connection, const ucred& peer) const noexcept {
  if (peer.uid == geteuid() || peer.uid == 0 || access_.mode & S_IWOTH) return true;
  struct stat st;
  if (!(access_.mode & S_IWGRP) || lstat(control().c_str(), &st) != 0) return false;
  if (peer.gid == st.st_gid) return true;
  gid_t groups[256];
  socklen_t size = sizeof groups;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) return false;
  return std::find(groups, groups + size / sizeof *groups, st.st_gid) !=
         groups + size / sizeof *groups;
}

}  // namespace rp::sockets
