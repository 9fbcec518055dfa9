// SPDX-License-Identifier: BSD-3-Clause
// traffic_control.cc - the messages of RTM_*QDISC and RTM_*TFILTER (tc(8), linux/pkt_sched.h).
#include "tap/traffic_control.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <limits>

#include "base/error.h"

namespace rp::tap {
namespace {

/// Of the ingress queue: the one handle it can have.
constexpr std::uint32_t kIngress = TC_H_MAKE(TC_H_INGRESS, 0);
constexpr std::uint32_t kPriority = 1;

void address(Request& r, unsigned index, std::uint32_t parent, std::uint32_t handle,
             std::uint32_t info = 0) {
  auto& t = r.header<tcmsg>();
  t.tcm_family = AF_UNSPEC;
  t.tcm_ifindex = static_cast<int>(index);
  t.tcm_parent = parent;
  t.tcm_handle = handle;
  t.tcm_info = info;
}

[[noreturn]] void lacks(const std::string& what, const std::string& part,
                        const std::string& module) {
  throw Error(Errc::unsupported, what + ": this kernel has no " + part +
                                     "; if it has it as a module: modprobe " + module);
}

int add_ingress(Netlink& netlink, unsigned index) {
  Request r(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL);
  address(r, index, TC_H_INGRESS, kIngress);
  r.put_text(TCA_KIND, "ingress");
  return netlink.ask(r);
}

/// One action: to the egress of another device, and no further here.
void put_redirect(Request& r, std::uint16_t type, unsigned to) {
  r.nest(type, [&] {
    r.nest(1, [&] {
      r.put_text(TCA_ACT_KIND, "mirred");
      r.nest(TCA_ACT_OPTIONS, [&] {
        tc_mirred m{};
        m.action = TC_ACT_STOLEN;
        m.eaction = TCA_EGRESS_REDIR;
        m.ifindex = to;
        r.put(TCA_MIRRED_PARMS, &m, sizeof m);
      });
    });
  });
}

/// A filter that matches every frame. Returns 0 or errno.
template <typename Options>
int add_filter(Netlink& netlink, unsigned index, const char* kind, Options&& options) {
  Request r(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL);
  address(r, index, kIngress, 0, TC_H_MAKE(kPriority << 16, htons(ETH_P_ALL)));
  r.put_text(TCA_KIND, kind);
  r.nest(TCA_OPTIONS, [&] { options(r); });
  return netlink.ask(r);
}

/// By matchall, or where the kernel lacks that by u32 with a mask of zero.
int add_filter(Netlink& netlink, unsigned from, unsigned to) {
  const int err = add_filter(netlink, from, "matchall",
                             [&](Request& r) { put_redirect(r, TCA_MATCHALL_ACT, to); });
  if (err != ENOENT) return err;
  return add_filter(netlink, from, "u32", [&](Request& r) {
    // A header, and behind it one key, whose mask and value are zero.
    std::array<char, sizeof(tc_u32_sel) + sizeof(tc_u32_key)> all{};
    all[offsetof(tc_u32_sel, flags)] = TC_U32_TERMINAL;
    all[offsetof(tc_u32_sel, nkeys)] = 1;
    r.put(TCA_U32_SEL, all.data(), all.size());
    put_redirect(r, TCA_U32_ACT, to);
  });
}

/// False: it is gone already, or can't be.
bool remove_ingress(Netlink& netlink, unsigned index) {
  Request r(RTM_DELQDISC, 0);
  address(r, index, TC_H_INGRESS, kIngress);
  return netlink.ask(r) == 0;
}

}  // namespace

IngressRedirect::IngressRedirect(Netlink& netlink, unsigned from, unsigned to,
                                 const std::string& what) {
  const std::string doing = what + ": redirecting what comes in";
  if (const int err = add_ingress(netlink, from); err == ENOENT || err == EOPNOTSUPP)
    lacks(what, "ingress queue (NET_SCH_INGRESS)", "sch_ingress");
  else if (err == EEXIST)
    throw Error(Errc::busy, doing +
                                ": the device has an ingress or clsact queue already; `tc qdisc "
                                "del dev DEVICE ingress` takes one away that is of no use");
  else if (err != 0)
    refuse(doing, err, netlink.why());
  netlink_ = &netlink;
  from_ = from;
  const int err = add_filter(netlink, from, to);
  if (err == 0) return;
  const std::string words = netlink.why();
  remove();
  if (err == ENOENT && words.find("classifier") != words.npos)
    lacks(what, "filter that takes all (NET_CLS_MATCHALL or NET_CLS_U32)", "cls_matchall");
  if (err == ENOENT) lacks(what, "redirecting action (NET_ACT_MIRRED)", "act_mirred");
  refuse(doing, err, words);
}

void IngressRedirect::remove() noexcept {
  if (from_ == 0) return;
  try {
    remove_ingress(*netlink_, std::exchange(from_, 0));
  } catch (const std::exception&) {
    // Nobody is left to hear of it.
  }
}

void limit_rate(Netlink& netlink, unsigned index, std::uint64_t bits, std::uint32_t burst,
                const std::string& what) {
  const std::uint64_t bytes = std::max<std::uint64_t>(bits / 8, 1);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  tc_tbf_qopt q{};
  q.rate.linklayer = TC_LINKLAYER_ETHERNET;
  q.rate.rate = static_cast<std::uint32_t>(std::min(bytes, kMost));
  q.limit = static_cast<std::uint32_t>(std::min(bytes / 20 + burst, kMost));
  Request r(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
  address(r, index, TC_H_ROOT, TC_H_MAKE(1u << 16, 0));
  r.put_text(TCA_KIND, "tbf");
  r.nest(TCA_OPTIONS, [&] {
    r.put(TCA_TBF_PARMS, &q, sizeof q);
    if (bytes > kMost) r.put(TCA_TBF_RATE64, &bytes, sizeof bytes);
    r.put_u32(TCA_TBF_BURST, burst);
  });
  const int err = netlink.ask(r);
  if (err == ENOENT) lacks(what, "token bucket (NET_SCH_TBF), which rate= takes", "sch_tbf");
  if (err != 0) refuse(what + ": setting the rate", err, netlink.why());
}

}  // namespace rp::tap
