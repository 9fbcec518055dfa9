// SPDX-License-Identifier: BSD-3-Clause
// netlink.cc - one request, its answers, its acknowledgement.
#include "tap/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace rp::tap {
namespace {

/// linux/netlink.h: a dump's buffer of this size is never cut short.
constexpr std::size_t kAnswer = 32768;
/// More messages than a socket's buffer has room for.
constexpr int kMostWaiting = 4096;

/// NLMSGERR_ATTR_MSG of an answer to NETLINK_EXT_ACK; it lies behind the request, when that is
/// quoted.
std::string kernel_words(const nlmsghdr* h) {
  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  const auto* e = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(h));
  std::size_t offset = sizeof *e;
  if (!(h->nlmsg_flags & NLM_F_CAPPED)) offset += e->msg.nlmsg_len - sizeof(nlmsghdr);
  std::string words;
  mnl_attr_parse(
      h, static_cast<unsigned>(offset),
      [](const nlattr* a, void* out) {
        if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG &&
            mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
          *static_cast<std::string*>(out) = mnl_attr_get_str(a);
        return MNL_CB_OK;
      },
      &words);
  return words;
}

/// NLMSG_DONE ends with what stopped the dump, negative, or with a number that says nothing.
int dump_error(const nlmsghdr* h) {
  int value = 0;
  if (mnl_nlmsg_get_payload_len(h) >= sizeof value)
    std::memcpy(&value, mnl_nlmsg_get_payload(h), sizeof value);
  return value < 0 ? -value : 0;
}

}  // namespace

void refuse(const std::string& what, int err, std::string_view kernel_said) {
  std::string sentence = what + ": " + std::generic_category().message(err);
  if (!kernel_said.empty()) sentence += " (" + std::string(kernel_said) + ")";
  if (err == EPERM || err == EACCES)
    throw Error(Errc::denied, sentence +
                                  "; it takes CAP_NET_ADMIN: run as root, or have root prepare the "
                                  "device and leave this option out");
  try {
    throw_errno(what, err);
  } catch (const Error& e) {
    throw Error(e.code(), sentence);
  }
}

Request::Request(std::uint16_t type, std::uint16_t flags)
    : message_(mnl_nlmsg_put_header(bytes_.data())) {
  message_->nlmsg_type = type;
  message_->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

void* Request::extra(std::size_t size) {
  return mnl_nlmsg_put_extra_header(message_, size);
}

void Request::put(std::uint16_t type, const void* data, std::size_t size) {
  if (!mnl_attr_put_check(message_, bytes_.size(), type, size, data))
    throw Error(Errc::invalid, "more options for one device than a netlink message holds");
}

nlattr* Request::begin(std::uint16_t type) {
  nlattr* open = mnl_attr_nest_start_check(message_, bytes_.size(), type);
  if (!open) throw Error(Errc::invalid, "more options for one device than a netlink message holds");
  return open;
}

void Request::end(nlattr* open) {
  mnl_attr_nest_end(message_, open);
}

Fd Netlink::open_socket() {
  Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!fd) throw_errno("opening a netlink socket", errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);  // only for words
  return fd;
}

ssize_t receive_from_kernel(int socket, void* bytes, std::size_t size) noexcept {
  sockaddr_nl from{};
  socklen_t length = sizeof from;
  const ssize_t got = recvfrom(socket, bytes, size, 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (got < 0 || from.nl_pid == 0) return got;
  errno = EINTR;
  return -1;
}

/// What others sent would take the answer's room.
void Netlink::drain() noexcept {
  char byte;
  for (int i = 0; i < kMostWaiting; ++i)
    if (recv(socket_.get(), &byte, sizeof byte, 0) < 0 && errno == EAGAIN) return;
}

int Netlink::ask(Request& request, const Answer& answer) {
  why_.clear();
  nlmsghdr* m = request.message();
  const bool dump = (m->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
  if (!dump) m->nlmsg_flags |= NLM_F_ACK;
  m->nlmsg_seq = ++sequence_;
  drain();
  if (send(socket_.get(), m, m->nlmsg_len, MSG_NOSIGNAL) < 0) return errno;
  bool interrupted = false;
  alignas(8) std::array<char, kAnswer> bytes;
  for (;;) {
    const ssize_t got = receive_from_kernel(socket_.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    // The answer came before send() returned, so one that is not there was dropped.
    if (got < 0) return errno == EAGAIN ? ENOBUFS : errno;
    int left = static_cast<int>(got);
    for (auto* h = reinterpret_cast<const nlmsghdr*>(bytes.data()); mnl_nlmsg_ok(h, left);
         h = mnl_nlmsg_next(h, &left)) {
      if (h->nlmsg_seq != sequence_) continue;
      interrupted |= dump && (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
      if (h->nlmsg_type == NLMSG_DONE) {
        const int err = dump_error(h);
        return err != 0 ? err : interrupted ? EINTR : 0;
      }
      if (h->nlmsg_type == NLMSG_ERROR) {
        why_ = kernel_words(h);
        return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(h))->error;
      }
      if (answer) answer(*h);
    }
  }
}

void Netlink::order(Request& request, const std::string& what) {
  if (const int err = ask(request); err != 0) refuse(what, err, why_);
}

}  // namespace rp::tap
