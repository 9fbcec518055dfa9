// SPDX-License-Identifier: BSD-3-Clause
// link_monitor.cc - reads RTM_NEWLINK and RTM_DELLINK as they come.
#include "tap/link_monitor.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "tap/netlink.h"

namespace rp::tap {
namespace {

/// A message with everything that a device with virtual functions has to tell is larger, and is
/// cut: the header and the name come first.
constexpr std::size_t kMessage = 16384;
/// Messages in one look.
constexpr int kBudget = 64;

LinkEvent event_of(const nlmsghdr* h) noexcept {
  const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(h));
  LinkEvent e{static_cast<unsigned>(info->ifi_index),
              {},
              h->nlmsg_type == RTM_DELLINK,
              (info->ifi_flags & IFF_UP) != 0};
  mnl_attr_parse(
      h, sizeof *info,
      [](const nlattr* a, void* out) {
        if (mnl_attr_get_type(a) == IFLA_IFNAME && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
          static_cast<LinkEvent*>(out)->name = mnl_attr_get_str(a);
        return MNL_CB_OK;
      },
      &e);
  return e;
}

/// Of ask(), as the kernel quotes it in its answer that there is no such device; 0: it is none.
unsigned missing_index(const nlmsghdr* h) noexcept {
  if (h->nlmsg_type != NLMSG_ERROR ||
      mnl_nlmsg_get_payload_len(h) < sizeof(nlmsgerr) + sizeof(ifinfomsg))
    return 0;
  const auto* e = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(h));
  if (e->error != -ENODEV || e->msg.nlmsg_type != RTM_GETLINK) return 0;
  return static_cast<unsigned>(reinterpret_cast<const ifinfomsg*>(e + 1)->ifi_index);
}

}  // namespace

LinkMonitor::LinkMonitor() : LinkMonitor(Netlink::open_socket()) {}

LinkMonitor::LinkMonitor(Fd socket) : socket_(std::move(socket)) {
  fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  own.nl_groups = RTMGRP_LINK;
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
    throw_errno("listening for changes of network devices", errno);
}

void LinkMonitor::ask(unsigned index) noexcept {
  alignas(8) std::array<char, MNL_ALIGN(sizeof(nlmsghdr)) + sizeof(ifinfomsg)> bytes;
  nlmsghdr* h = mnl_nlmsg_put_header(bytes.data());
  h->nlmsg_type = RTM_GETLINK;
  h->nlmsg_flags = NLM_F_REQUEST;
  static_cast<ifinfomsg*>(mnl_nlmsg_put_extra_header(h, sizeof(ifinfomsg)))->ifi_index =
      static_cast<int>(index);
  [[maybe_unused]] const auto n = send(socket_.get(), h, h->nlmsg_len, MSG_NOSIGNAL);
}

void LinkMonitor::read(unsigned watched, void (*fn)(void*, const LinkEvent&),
                       void* opaque) noexcept {
  alignas(8) std::array<char, kMessage> bytes;
  for (int i = 0; i < kBudget; ++i) {
    const ssize_t got = receive_from_kernel(socket_.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == ENOBUFS) {
      ask(watched);
      continue;
    }
    if (got < 0) return;
    int left = static_cast<int>(got);
    for (auto* h = reinterpret_cast<const nlmsghdr*>(bytes.data()); mnl_nlmsg_ok(h, left);
         h = mnl_nlmsg_next(h, &left)) {
      if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK) fn(opaque, event_of(h));
      if (const unsigned index = missing_index(h); index != 0) fn(opaque, {index, {}, true, false});
    }
  }
}

}  // namespace rp::tap
