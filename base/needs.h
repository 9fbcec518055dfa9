// SPDX-License-Identifier: BSD-3-Clause
// needs.h - what code of ours asks of the kernel after it was opened.
//
// Each folder says so beside its calls (needs.cc; x_needs in backend/modes.cc), for a process that
// gives up all else: `ringplug switch` does, the library never. A list that lacks a call is a call
// that fails in there with ENOSYS; tests/system runs every mode that way.
#pragma once

#include <unistd.h>

#include <functional>
#include <string>

namespace rp {

enum class Need {
  call,    ///< a system call, by its name
  family,  ///< of sockets: "inet", "inet6", "netlink", "packet"; of UNIX ones, whose datagrams are
           ///< everybody's: "abstract", those without a file; "unix-stream", to connect to
  ioctl,   ///< a request, as a number
  read,    ///< a file, or all in a folder
  write,   ///< as read, and written
  folder,  ///< sockets in it are made and removed, and it is listed
  remove,  ///< a folder from which names are removed
  capability,  ///< "net_admin"
  code,        ///< code of others runs, which may need anything; the value says whose
};

using NeedSink = std::function<void(Need, const std::string& value)>;

/// All of a table.
template <typename Values>
void tell_needs(const NeedSink& sink, Need what, const Values& values) {
  for (const auto& v : values) sink(what, v);
}

/// The folder in which a socket's path lies.
inline std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// Of who sends to UNIX sockets: root's peer may be another user's, in a folder of that user's.
inline void tell_reaching_needs(const NeedSink& sink) {
  if (geteuid() == 0) sink(Need::capability, "dac_override");
}

/// Of who connects to UNIX stream sockets.
inline void tell_dialing_needs(const NeedSink& sink) {
  sink(Need::family, "unix-stream");
  tell_reaching_needs(sink);
}

}  // namespace rp
