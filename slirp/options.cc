// SPDX-License-Identifier: BSD-3-Clause
// options.cc - the table of slirp's options and the rules that tie their values together.
#include <arpa/inet.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>

#include "slirp/config.h"
#include "slirp/forward.h"

namespace rp::slirp {
namespace {

constexpr const char* kOnOff = "on|off";
constexpr std::size_t kMaxName = 255;  ///< DHCP option length, RFC 2132
/// What libslirp's DHCP answer has room for beside its other options (312 bytes in all).
constexpr std::size_t kMaxDhcpText = 258;
constexpr std::size_t kMaxBootfile = 127;  ///< RFC 951: the file field, NUL-terminated

[[noreturn]] void bad(const std::string& why) {
  throw Error(Errc::invalid, why);
}

std::string bounded(const std::string& v, std::size_t most) {
  if (v.empty()) bad("the value is empty");
  if (v.size() > most) bad("longer than " + std::to_string(most) + " bytes");
  return v;
}

/// RFC 1035, 2.3.4: labels of 1 to 63 bytes.
std::string domain(const std::string& v) {
  std::size_t label = 0;
  for (const char c : bounded(v, kMaxName)) {
    label = c == '.' ? (label == 0 ? kMaxName : 0) : label + 1;
    if (label > 63) bad("not a domain name: its labels have 1 to 63 bytes");
  }
  return v;
}

/// The mask that `-netdev user,net=` assumes when none is written.
std::uint32_t default_mask(std::uint32_t a) {
  if (!(a & 0x80000000)) return 0xff000000;               // class A
  if ((a & 0xfff00000) == 0xac100000) return 0xfff00000;  // 172.16/12
  if ((a & 0xc0000000) == 0x80000000) return 0xffff0000;  // class B
  if ((a & 0xffff0000) == 0xc0a80000) return 0xffff0000;  // 192.168/16
  if ((a & 0xffff0000) == 0xc6120000) return 0xfffe0000;  // 198.18/15
  if ((a & 0xe0000000) == 0xe0000000) return 0xfffffff0;
  return 0xffffff00;
}

void set_net(Config& c, const std::string& v) {
  const auto slash = v.find('/');
  c.net = parse_ipv4(v.substr(0, slash));
  std::uint32_t mask = default_mask(ntohl(c.net.s_addr));
  if (slash != v.npos) {
    const auto m = v.substr(slash + 1);
    if (m.find('.') != m.npos)
      mask = ntohl(parse_ipv4(m).s_addr);
    else
      mask = ~std::uint32_t{0} << (32 - parse_number(m, 4, 30));
  }
  if (std::countl_one(mask) + std::countr_zero(mask) != 32 || std::countl_one(mask) < 4 ||
      std::countr_zero(mask) < 2)
    bad("the mask is not contiguous or leaves fewer than 4 addresses");
  c.mask.s_addr = htonl(mask);
  c.net.s_addr &= c.mask.s_addr;
}

void set_net6(Config& c, const std::string& v) {
  const auto slash = v.find('/');
  c.prefix6 = parse_ipv6(v.substr(0, slash));
  if (slash != v.npos) c.prefix6_len = parse_number(v.substr(slash + 1), 0, 126);
}

sockaddr_in outbound4(const std::string& v) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr = parse_ipv4(v);
  return a;
}

sockaddr_in6 outbound6(const std::string& v) {
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  a.sin6_addr = parse_ipv6(v);
  return a;
}

std::string directory(const std::string& v) {
  struct stat st;
  if (stat(v.c_str(), &st) != 0) throw_errno("the directory can't be used", errno);
  if (!S_ISDIR(st.st_mode)) bad("not a directory");
  return v;
}

const Option<Config> kOptions[] = {
    {{"ipv4", kOnOff, "on", "IPv4 on the guest's network"},
     [](Config& c, const std::string& v) { c.ipv4 = parse_on_off(v); }},
    {{"net", "ADDR[/MASK]", "10.0.2.0/24", "the guest's IPv4 network"}, set_net},
    {{"host", "ADDR", "the network's .2", "the gateway: the host as the guest sees it"},
     [](Config& c, const std::string& v) { c.host = parse_ipv4(v); }},
    {{"ipv6", kOnOff, "on", "IPv6 on the guest's network"},
     [](Config& c, const std::string& v) { c.ipv6 = parse_on_off(v); }},
    {{"ipv6-net", "PREFIX[/LEN]", "fec0::/64", "the guest's IPv6 network"}, set_net6},
    {{"ipv6-prefix", "PREFIX", "fec0::", "the same, as QEMU's JSON spells it"},
     [](Config& c, const std::string& v) { c.prefix6 = parse_ipv6(v); }},
    {{"ipv6-prefixlen", "LEN", "64", "the same, as QEMU's JSON spells it"},
     [](Config& c, const std::string& v) { c.prefix6_len = parse_number(v, 0, 126); }},
    {{"ipv6-host", "ADDR", "the prefix's ::2", "the gateway over IPv6"},
     [](Config& c, const std::string& v) { c.host6 = parse_ipv6(v); }},
    {{"restrict", kOnOff, "off", "refuse everything but what is forwarded"},
     [](Config& c, const std::string& v) { c.restricted = parse_on_off(v); }},
    {{"hostname", "NAME", "", "the host name that DHCP gives the guest"},
     [](Config& c, const std::string& v) { c.hostname = bounded(v, kMaxName); }},
    {{"dhcpstart", "ADDR", "the network's .15", "the first of 16 addresses that DHCP gives"},
     [](Config& c, const std::string& v) { c.dhcpstart = parse_ipv4(v); }},
    {{"dns", "ADDR", "the network's .3", "the name server as the guest sees it"},
     [](Config& c, const std::string& v) { c.dns = parse_ipv4(v); }},
    {{"ipv6-dns", "ADDR", "the prefix's ::3", "the name server over IPv6"},
     [](Config& c, const std::string& v) { c.dns6 = parse_ipv6(v); }},
    {{"dnssearch", "DOMAIN", "", "a search domain; may be repeated"},
     [](Config& c, const std::string& v) { c.dnssearch.push_back(domain(v)); }},
    {{"domainname", "DOMAIN", "", "the domain name that DHCP gives the guest"},
     [](Config& c, const std::string& v) { c.domainname = bounded(v, kMaxName); }},
    {{"tftp", "DIR", "", "serve this directory by TFTP, read-only; no TFTP without it"},
     [](Config& c, const std::string& v) { c.tftp = directory(v); }},
    {{"tftp-server-name", "NAME", "", "DHCP option 66"},
     [](Config& c, const std::string& v) { c.tftp_server_name = bounded(v, kMaxName); }},
    {{"bootfile", "FILE", "", "the boot file that BOOTP and DHCP name"},
     [](Config& c, const std::string& v) { c.bootfile = bounded(v, kMaxBootfile); }},
    {{"hostfwd", "[tcp|udp]:[ADDR]:PORT-[GUEST]:PORT or unix:PATH-[GUEST]:PORT", "",
      "host to guest; no ADDR means loopback, port 0 a free one; may be repeated"},
     [](Config& c, const std::string& v) { c.hostfwd.push_back(parse_hostfwd(v)); }},
    {{"guestfwd", "tcp:[ADDR]:PORT-unix:PATH or -cmd:COMMAND", "",
      "guest to a UNIX socket or a fresh command per connection; may be repeated"},
     [](Config& c, const std::string& v) { c.guestfwd.push_back(parse_guestfwd(v)); }},
    {{"mtu", "BYTES", "1500; QEMU: 9000",
      "largest IP packet on the guest's network, 1280 to 65521; DHCP tells those that ask"},
     [](Config& c, const std::string& v) { c.mtu = parse_number(v, 1280, 65521); }},
    {{"disable-host-loopback", kOnOff, "off", "the gateway does not lead to the host's 127.0.0.1"},
     [](Config& c, const std::string& v) { c.disable_host_loopback = parse_on_off(v); }},
    {{"link-local", kOnOff, "off",
      "let guests reach 169.254.0.0/16 and its IPv6 cousins, where cloud metadata lives"},
     [](Config& c, const std::string& v) { c.link_local = parse_on_off(v); }},
    {{"outbound-addr", "ADDR", "", "the host's IPv4 address that guests' traffic leaves from"},
     [](Config& c, const std::string& v) { c.outbound = outbound4(v); }},
    {{"outbound-addr6", "ADDR", "", "the same for IPv6"},
     [](Config& c, const std::string& v) { c.outbound6 = outbound6(v); }},
    {{"max-flows", "N", "512", "connections, UDP and ping sockets that one guest may hold open"},
     [](Config& c, const std::string& v) { c.max_flows = parse_number(v, 1, 65536); }},
};

/// The address whose host part is `host_part`, inside the network.
in_addr inside(const Config& c, std::uint32_t host_part) {
  return {c.net.s_addr | (htonl(host_part) & ~c.mask.s_addr)};
}

in6_addr inside6(const Config& c, std::uint8_t last) {
  in6_addr a = c.prefix6;
  a.s6_addr[15] = static_cast<std::uint8_t>(a.s6_addr[15] | last);
  return a;
}

/// An address of the network that is neither its first nor its last.
bool is_host(const Config& c, in_addr a) {
  const std::uint32_t host_part = ntohl(a.s_addr & ~c.mask.s_addr);
  return (a.s_addr & c.mask.s_addr) == c.net.s_addr && host_part != 0 &&
         host_part != ntohl(~c.mask.s_addr);
}

/// In a network too small for QEMU's .15: where the most addresses in a row are neither host nor
/// dns, as DHCP counts upwards from there.
in_addr small_dhcpstart(const Config& c) {
  const std::uint32_t last = ntohl(~c.mask.s_addr);
  std::uint32_t best = 0, best_run = 0, run = 0;
  for (std::uint32_t part = 1; part < last; ++part) {
    const in_addr a = inside(c, part);
    run = a.s_addr == c.host->s_addr || a.s_addr == c.dns->s_addr ? 0 : run + 1;
    if (run > best_run) {
      best_run = run;
      best = part - run + 1;
    }
  }
  return inside(c, best);
}

void check_inside(const Config& c, const char* name, in_addr a) {
  if (!is_host(c, a)) {
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a, text, sizeof text);
    bad(std::string("slirp: ") + name + "=" + text + ": not an address of the guest's network");
  }
}

/// libslirp means to check this, but compares ports of different byte orders.
void check_distinct(const std::vector<GuestForward>& all) {
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (all[i].address.s_addr == all[j].address.s_addr && all[i].port == all[j].port)
        bad("slirp: guestfwd=" + all[i].text + ": another guestfwd has the address and port");
    }
  }
}

void finish_ipv4(Config& c) {
  // QEMU's plan: 10.0.2.0/24 with .2, .3 and .15 in the last two bytes of any other network.
  const bool own_dns = c.dns.has_value(), own_start = c.dhcpstart.has_value();
  if (!c.host) c.host = inside(c, 0x0202);
  if (!c.dns) c.dns = inside(c, 0x0203);
  if (!c.dhcpstart) {
    c.dhcpstart = inside(c, 0x020f);
    if (!is_host(c, *c.dhcpstart)) c.dhcpstart = small_dhcpstart(c);
  }
  for (auto& f : c.guestfwd) {
    if (f.address.s_addr == 0) f.address = inside(c, 0x0204);
  }
  if (!c.ipv4) return;
  check_inside(c, "host", *c.host);
  if (own_dns) check_inside(c, "dns", *c.dns);
  const bool start_fits = own_start || is_host(c, *c.dhcpstart);
  if (!is_host(c, *c.dns) || !start_fits)
    bad("slirp: net is too small for three addresses: host, dns and dhcpstart");
  check_inside(c, "dhcpstart", *c.dhcpstart);
  if (c.host->s_addr == c.dhcpstart->s_addr || c.dns->s_addr == c.dhcpstart->s_addr ||
      c.host->s_addr == c.dns->s_addr)
    bad("slirp: host, dns and dhcpstart must be three different addresses");
  for (const auto& f : c.guestfwd) check_inside(c, "guestfwd", f.address);
  check_distinct(c.guestfwd);
}

void finish_ipv6(Config& c) {
  for (unsigned bit = c.prefix6_len; bit < 128; ++bit)
    c.prefix6.s6_addr[bit / 8] &= static_cast<std::uint8_t>(~(0x80 >> (bit % 8)));
  if (!c.host6) c.host6 = inside6(c, 2);
  if (!c.dns6) c.dns6 = inside6(c, 3);
  if (!c.ipv6) return;
  if (!in_prefix(c, *c.host6)) bad("slirp: ipv6-host is not in the guest's IPv6 network");
  if (!in_prefix(c, *c.dns6)) bad("slirp: ipv6-dns is not in the guest's IPv6 network");
  if (IN6_ARE_ADDR_EQUAL(&*c.host6, &*c.dns6))
    bad("slirp: ipv6-host and ipv6-dns must be different addresses");
}

void check_dhcp_text(const Config& c) {
  constexpr std::size_t kOption = 2;  // code and length, RFC 2132
  std::size_t total = 0;
  for (const auto* text : {&c.hostname, &c.domainname, &c.tftp_server_name})
    if (!text->empty()) total += kOption + text->size();
  for (const auto& d : c.dnssearch) total += kOption + d.size();
  if (total > kMaxDhcpText)
    bad("slirp: hostname, domainname, tftp-server-name and dnssearch together are longer than a "
        "DHCP answer has room for (" +
        std::to_string(kMaxDhcpText) + " bytes)");
}

void check_unicast(const Config& c) {
  const std::uint32_t net = ntohl(c.net.s_addr);
  if (c.ipv4 && (net >> 24 == 0 || net >> 24 == 127 || net >> 28 >= 14))
    bad("slirp: net: not a network that hosts can have addresses in");
  if (c.ipv6 && (c.prefix6.s6_addr[0] == 0xff || IN6_IS_ADDR_UNSPECIFIED(&c.prefix6) ||
                 IN6_IS_ADDR_LINKLOCAL(&c.prefix6)))
    bad("slirp: ipv6-net: not a network that hosts can have addresses in");
}

}  // namespace

std::span<const Option<Config>> options() {
  return kOptions;
}

Config make_config(const std::vector<std::pair<std::string, std::string>>& params) {
  Config c;
  c.net.s_addr = htonl(0x0a000200);
  c.mask.s_addr = htonl(0xffffff00);
  c.prefix6 = parse_ipv6("fec0::");
  for (const auto& [key, value] : params) set_option(options(), c, "slirp", key, value);
  if (!c.ipv4 && !c.ipv6) bad("slirp: ipv4=off and ipv6=off together leave nothing");
  check_unicast(c);
  check_dhcp_text(c);
  finish_ipv4(c);
  finish_ipv6(c);
  if (!c.tftp.empty() && c.mtu < 1500)
    bad("slirp: tftp needs mtu=1500 or more, as its blocks are that large");
  return c;
}

}  // namespace rp::slirp
