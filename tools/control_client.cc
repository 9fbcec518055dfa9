// SPDX-License-Identifier: BSD-3-Clause
// control_client.cc - connects, sends the request, reads the answer; bounded in time and size.
#include "tools/control_client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "tools/command.h"
#include "tools/service.h"
#include "tools/table.h"

namespace rp::tools {
namespace {

constexpr std::string_view kSuffix = ".control";
/// Of one step: to connect, to send, to receive something.
constexpr timeval kPatience{5, 0};
constexpr std::size_t kLongestAnswer = std::size_t{256} << 20;

class Socket {
 public:
  Socket() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    for (int option : {SO_RCVTIMEO, SO_SNDTIMEO})
      setsockopt(fd_, SOL_SOCKET, option, &kPatience, sizeof kPatience);
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail(const std::string& name, int error) {
  throw Complaint(kFailed, "the switch '" + name + "' does not answer: " +
                               (error == EAGAIN ? "it takes too long" : g_strerror(error)));
}

sockaddr_un address_of(const std::string& name) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  rp_error error = RP_ERROR_INIT;
  check(rp_runtime_path(name.c_str(), kSuffix.data(), a.sun_path, sizeof a.sun_path, &error),
        error);
  return a;
}

/// Everything until the other end closes.
std::string receive(const Socket& s, const std::string& name) {
  std::string all;
  std::array<char, 65536> bytes;
  for (;;) {
    const ssize_t n = recv(s.fd(), bytes.data(), bytes.size(), 0);
    if (n == 0) return all;
    if (n < 0) fail(name, errno);
    all.append(bytes.data(), static_cast<std::size_t>(n));
    if (all.size() > kLongestAnswer) fail(name, EMSGSIZE);
  }
}

}  // namespace

JsonNodeRef ask(const std::string& name, const std::string& request) {
  const std::string line = request + '\n';
  const sockaddr_un a = address_of(name);
  const Socket s;
  if (connect(s.fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return nullptr;
    fail(name, errno);
  }
  // So short a line goes as a whole or not at all.
  if (send(s.fd(), line.data(), line.size(), MSG_NOSIGNAL) < 0) fail(name, errno);
  std::string why;
  auto answer = parse_object(receive(s, name), why);
  if (!answer)
    throw Complaint(kFailed, "the answer of the switch '" + name + "': " + printable(why));
  const std::string refused = text_of(json_node_get_object(answer.get()), "error");
  if (!refused.empty())
    throw Complaint(kFailed, "the switch '" + name + "' says: " + printable(refused));
  return answer;
}

std::vector<std::string> known_names() {
  std::array<char, 4096> folder;
  rp_error error = RP_ERROR_INIT;
  check(rp_runtime_path(nullptr, nullptr, folder.data(), folder.size(), &error), error);
  GError* why = nullptr;
  const std::unique_ptr<GDir, decltype(&g_dir_close)> dir(g_dir_open(folder.data(), 0, &why),
                                                          g_dir_close);
  if (!dir) {
    const std::string sentence = why->message;
    g_error_free(why);
    throw Complaint(kFailed, sentence);
  }
  std::vector<std::string> names;
  while (const char* entry = g_dir_read_name(dir.get())) {
    const std::string_view file = entry;
    if (file.size() > kSuffix.size() && file.substr(file.size() - kSuffix.size()) == kSuffix)
      names.emplace_back(file.substr(0, file.size() - kSuffix.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace rp::tools
