// SPDX-License-Identifier: BSD-3-Clause
// vde_port.cc - the end of the handshake, and the end of the client.
#include "sockets/vde_port.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/descriptors.h"
#include "base/error.h"

namespace rp::sockets {
namespace {

/// Bursts between two looks at the control connection of a client that never stops sending.
constexpr unsigned kLookEvery = 256;
/// A client that says more is none.
constexpr std::size_t kMostChatter = 4096;

const sockaddr* generic(const sockaddr_un& a) noexcept {
  return reinterpret_cast<const sockaddr*>(&a);
}

/// As far as its NUL; without one all of it is the path.
std::string path_of(const sockaddr_un& a) {
  return std::string(a.sun_path, strnlen(a.sun_path, sizeof a.sun_path));
}

/// Connects to the client's socket by what was looked at, not by its name once more. It must be
/// the client's own: who comes in must not point us at others' sockets.
void connect_to_path(const Fd& s, const std::string& path, const ucred& peer) {
  if (path[0] != '/') throw Error(Errc::invalid, "the path of its socket is not absolute");
  const Fd file(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!file || fstat(file.get(), &st) != 0) throw_errno("its socket", errno);
  if (!S_ISSOCK(st.st_mode)) throw Error(Errc::invalid, "what it names is no socket");
  if (peer.uid != 0 && st.st_uid != peer.uid)
    throw Error(Errc::denied, "its socket belongs to user " + std::to_string(st.st_uid));
  sockaddr_un same{};
  same.sun_family = AF_UNIX;
  std::snprintf(same.sun_path, sizeof same.sun_path, "/proc/self/fd/%d", file.get());
  if (connect(s.get(), generic(same), sizeof same) != 0) throw_errno("its socket", errno);
}

Fd connected_to(const VdeClient& client) {
  Fd s(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s) throw_errno("making a socket", errno);
  const sockaddr_un& a = client.request.client;
  if (a.sun_path[0] != '\0') connect_to_path(s, path_of(a), client.peer);
  // An abstract name is all of its bytes, as they came: some clients leave the rest unwritten.
  else if (connect(s.get(), generic(a), sizeof a) != 0)
    throw_errno("its abstract socket", errno);
  return s;
}

struct Bound {
  sockaddr_un address;
  OwnedPath path;
};

/// Binds our end in the folder, for the client to connect to.
Bound bind_in(const VdeFolder& folder, const Fd& s, const VdeClient& client) {
  char name[32];
  std::snprintf(name, sizeof name, "/%03u.%d", client.request.number, s.get());
  // Made before there is a socket that it would have to remove.
  std::string path = folder.path() + name;
  const sockaddr_un a = unix_address(path, "its port");
  if (fchmod(s.get(), 0600) != 0 || bind(s.get(), generic(a), sizeof a) != 0)
    throw_errno(path, errno);
  return {a, OwnedPath(std::move(path))};
}

}  // namespace

VdePort::VdePort(VdeClient client, std::shared_ptr<VdeFolder> folder,
                 std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits)
    : client_(std::move(client)), folder_(std::move(folder)), epoll_(make_epoll()) {
  Fd s = connected_to(client_);
  Bound bound = bind_in(*folder_, s, client_);
  path_ = std::move(bound.path);
  const VdeAccess& access = folder_->access();
  // Root can give it to the client alone; anybody else has to leave it to the mode.
  if (geteuid() == 0)
    set_access(path_.path(), client_.peer.uid, access.group, access.mode & 0700, "its port");
  else
    set_access(path_.path(), static_cast<uid_t>(-1), access.group, access.mode, "its port");
  data_ = std::make_unique<DatagramSocket>(
      std::move(s), epoll_.get(), DatagramSocket::Watched::room, std::move(buffers), limits);
  watch(epoll_, client_.control.get());
  const ssize_t n = ::send(client_.control.get(), &bound.address, sizeof bound.address,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n != sizeof bound.address) throw_errno("answering it", n < 0 ? errno : EPIPE);
}

VdePort::~VdePort() = default;

void VdePort::receive(sw::Burst& burst, Instant now) noexcept {
  if (gone_) return;
  data_->receive(burst, now);
  if (burst.empty() || ++turns_ % kLookEvery == 0) look_at_control();
}

std::size_t VdePort::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  return data_->send(frames);
}

void VdePort::look_at_control() noexcept {
  char said[512];
  for (;;) {
    const ssize_t n = recv(client_.control.get(), said, sizeof said, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    // A description that came in pieces is a little late, and no more than that.
    chatter_ += n > 0 ? static_cast<std::size_t>(n) : 0;
    if (n <= 0 || chatter_ > kMostChatter) {
      gone_ = true;
      return;
    }
  }
  gone_ = data_->closed();
}

std::string VdePort::describe() const {
  std::string s =
      "process " + std::to_string(client_.peer.pid) + " user " + std::to_string(client_.peer.uid);
  return client_.request.management ? s + " management" : s;
}

}  // namespace rp::sockets
