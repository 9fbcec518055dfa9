// SPDX-License-Identifier: BSD-3-Clause
// options_test.cc - every option of the slirp mode: values taken, values refused, how they combine.
#include <gtest/gtest.h>

#include <set>

#include "slirp/config.h"
#include "tests/slirp/host.h"

namespace rp::slirp {
namespace {

using Params = std::vector<std::pair<std::string, std::string>>;
using Row = std::pair<std::string, std::string>;

/// The sentence that the options end in; empty: they are fine.
std::string failure(const Params& params, Errc* code = nullptr) {
  try {
    make_config(params);
  } catch (const Error& e) {
    if (code) *code = e.code();
    return e.what();
  }
  return {};
}
Config one(const std::string& key, const std::string& value) {
  return make_config({{key, value}});
}

std::string text4(in_addr a) {
  char t[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &a, t, sizeof t);
}
std::string text6(const in6_addr& a) {
  char t[INET6_ADDRSTRLEN];
  return inet_ntop(AF_INET6, &a, t, sizeof t);
}

TEST(SlirpOptions, DefaultsAreQemus) {
  const Config c = make_config({});
  EXPECT_TRUE(c.ipv4 && c.ipv6);
  EXPECT_EQ(text4(c.net), "10.0.2.0");
  EXPECT_EQ(text4(c.mask), "255.255.255.0");
  EXPECT_EQ(text4(*c.host), "10.0.2.2");
  EXPECT_EQ(text4(*c.dns), "10.0.2.3");
  EXPECT_EQ(text4(*c.dhcpstart), "10.0.2.15");
  EXPECT_EQ(text6(c.prefix6), "fec0::");
  EXPECT_EQ(c.prefix6_len, 64u);
  EXPECT_EQ(text6(*c.host6), "fec0::2");
  EXPECT_EQ(text6(*c.dns6), "fec0::3");
  EXPECT_EQ(c.mtu, 1500u);
  EXPECT_EQ(c.max_flows, 512u);
  EXPECT_FALSE(c.restricted || c.disable_host_loopback || c.link_local);
  EXPECT_TRUE(c.tftp.empty() && c.bootfile.empty() && c.hostname.empty());
  EXPECT_TRUE(c.hostfwd.empty() && c.guestfwd.empty() && c.dnssearch.empty());
  EXPECT_FALSE(c.outbound || c.outbound6);
}

TEST(SlirpOptions, OnOff) {
  bool Config::*const flags[] = {&Config::ipv4, &Config::ipv6, &Config::restricted,
                                 &Config::disable_host_loopback, &Config::link_local};
  const char* names[] = {"ipv4", "ipv6", "restrict", "disable-host-loopback", "link-local"};
  for (std::size_t i = 0; i < std::size(flags); ++i) {
    for (const char* yes : {"on", "yes", "true", "1"}) EXPECT_TRUE(one(names[i], yes).*flags[i]);
    for (const char* no : {"off", "no", "false", "0"}) EXPECT_FALSE(one(names[i], no).*flags[i]);
  }
}

TEST(SlirpOptions, GoodValues) {
  const test::ScratchDir dir;
  for (const auto& [key, value] : std::vector<Row>{{"host", "10.0.2.9"},
                                                   {"dhcpstart", "10.0.2.20"},
                                                   {"dns", "10.0.2.254"},
                                                   {"ipv6-net", "fd00:1::/48"},
                                                   {"ipv6-prefix", "fd00::"},
                                                   {"ipv6-prefixlen", "48"},
                                                   {"ipv6-host", "fec0::9"},
                                                   {"ipv6-dns", "fec0::53"},
                                                   {"hostname", "guest"},
                                                   {"dnssearch", "example.org"},
                                                   {"domainname", "example.org"},
                                                   {"tftp", dir.path()},
                                                   {"tftp-server-name", "boot"},
                                                   {"bootfile", std::string(127, 'b')},
                                                   {"hostname", std::string(255, 'h')},
                                                   {"hostfwd", "tcp::0-:22"},
                                                   {"guestfwd", "tcp:10.0.2.4:7-cmd:cat"},
                                                   {"mtu", "1280"},
                                                   {"mtu", "65521"},
                                                   {"outbound-addr", "127.0.0.5"},
                                                   {"outbound-addr6", "::1"},
                                                   {"max-flows", "1"},
                                                   {"max-flows", "65536"}})
    EXPECT_EQ(failure({{key, value}}), "") << key << "=" << value;
}

TEST(SlirpOptions, BadValuesAreNamedWithTheirOption) {
  for (const auto& [key, value] : std::vector<Row>{{"ipv4", "maybe"},
                                                   {"ipv6", ""},
                                                   {"restrict", "On"},
                                                   {"disable-host-loopback", "2"},
                                                   {"link-local", "x"},
                                                   {"net", "10.0.2"},
                                                   {"net", "10.0.2.0/31"},
                                                   {"net", "10.0.2.0/3"},
                                                   {"net", "10.0.2.0/255.0.255.0"},
                                                   {"net", "10.0.2.0/"},
                                                   {"net", "10.0.2.0/24x"},
                                                   {"net", "10.0.2.0/255.255.255.254"},
                                                   {"net", "::/8"},
                                                   {"host", "gateway"},
                                                   {"host", ""},
                                                   {"host", "192.168.1.1"},
                                                   {"host", "10.0.2.0"},
                                                   {"host", "10.0.2.255"},
                                                   {"dhcpstart", "10.0.3.15"},
                                                   {"dns", "8.8.8.8"},
                                                   {"dns", "10.0.2.3.4"},
                                                   {"ipv6-net", "fec0::/127"},
                                                   {"ipv6-net", "10.0.0.0/8"},
                                                   {"ipv6-prefix", "x"},
                                                   {"ipv6-prefixlen", "127"},
                                                   {"ipv6-prefixlen", "-1"},
                                                   {"ipv6-host", "10.0.2.2"},
                                                   {"ipv6-dns", "x"},
                                                   {"hostname", ""},
                                                   {"hostname", std::string(256, 'h')},
                                                   {"dnssearch", ""},
                                                   {"domainname", std::string(256, 'd')},
                                                   {"tftp", "/no/such/dir"},
                                                   {"tftp", "/dev/null"},
                                                   {"tftp-server-name", ""},
                                                   {"bootfile", std::string(128, 'b')},
                                                   {"hostfwd", "22"},
                                                   {"guestfwd", "udp:10.0.2.4:7-cmd:cat"},
                                                   {"guestfwd", "tcp:192.0.2.1:7-cmd:cat"},
                                                   {"mtu", "1279"},
                                                   {"mtu", "65522"},
                                                   {"mtu", "1500 "},
                                                   {"mtu", "99999999999"},
                                                   {"outbound-addr", "::1"},
                                                   {"outbound-addr6", "127.0.0.1"},
                                                   {"max-flows", "0"},
                                                   {"max-flows", "65537"}}) {
    const std::string why = failure({{key, value}});
    EXPECT_NE(why.find("slirp: "), why.npos) << key << "=" << value << ": " << why;
    EXPECT_NE(why.find(key), why.npos) << key << "=" << value << ": " << why;
    EXPECT_TRUE(key == "guestfwd" || why.find(value) != why.npos) << key << "=" << value;
  }
}

TEST(SlirpOptions, UnknownNamesListTheKnown) {
  Errc code{};
  const std::string why = failure({{"hostfw", "x"}}, &code);
  EXPECT_EQ(code, Errc::unknown);
  EXPECT_NE(why.find("'hostfw'"), why.npos) << why;
  for (const auto& o : options()) EXPECT_NE(why.find(o.name), why.npos) << o.name;
}

TEST(SlirpOptions, TheTableIsDocumentedAndHasNoNameTwice) {
  std::set<std::string_view> names;
  for (const auto& o : options()) {
    EXPECT_TRUE(names.insert(o.name).second) << o.name;
    EXPECT_FALSE(o.syntax.empty() || o.summary.empty()) << o.name;
  }
}

TEST(SlirpOptions, NetWithoutAMaskTakesQemusClass) {
  for (const auto& [net, mask] : std::vector<Row>{{"10.0.2.0", "255.0.0.0"},
                                                  {"172.16.0.0", "255.240.0.0"},
                                                  {"172.31.0.0", "255.240.0.0"},
                                                  {"172.32.0.0", "255.255.0.0"},
                                                  {"192.168.0.0", "255.255.0.0"},
                                                  {"198.18.0.0", "255.254.0.0"},
                                                  {"192.0.2.0", "255.255.255.0"}})
    EXPECT_EQ(text4(one("net", net).mask), mask) << net;
}

TEST(SlirpOptions, NetMovesEverything) {
  const Config c = one("net", "192.168.76.9/24");
  EXPECT_EQ(text4(c.net), "192.168.76.0");
  EXPECT_EQ(text4(*c.host), "192.168.76.2");
  EXPECT_EQ(text4(*c.dns), "192.168.76.3");
  EXPECT_EQ(text4(*c.dhcpstart), "192.168.76.15");
  const Config wide = one("net", "172.20.0.0/255.255.0.0");
  EXPECT_EQ(text4(*wide.host), "172.20.2.2");
  EXPECT_EQ(text4(*wide.dhcpstart), "172.20.2.15");
  const Config six = one("ipv6-net", "fd00:77::/64");
  EXPECT_EQ(text6(*six.host6), "fd00:77::2");
  EXPECT_EQ(text6(*six.dns6), "fd00:77::3");
}

TEST(SlirpOptions, SmallNets) {
  for (const auto& [net, start] : std::vector<Row>{{"10.0.2.0/27", "10.0.2.15"},
                                                   {"10.0.2.0/28", "10.0.2.4"},
                                                   {"10.0.2.0/29", "10.0.2.4"},
                                                   {"10.0.2.40/29", "10.0.2.44"}}) {
    const Config c = one("net", net);
    EXPECT_EQ(text4(*c.dhcpstart), start) << net;
    EXPECT_EQ(ntohl(c.host->s_addr & ~c.mask.s_addr), 2u) << net;
    EXPECT_EQ(ntohl(c.dns->s_addr & ~c.mask.s_addr), 3u) << net;
  }
  const Config split = make_config({{"net", "10.0.2.0/28"}, {"host", "10.0.2.12"}});
  EXPECT_EQ(text4(*split.dhcpstart), "10.0.2.4") << "the longest row of free addresses";
  const Config low =
      make_config({{"net", "10.0.2.0/29"}, {"host", "10.0.2.5"}, {"dns", "10.0.2.6"}});
  EXPECT_EQ(text4(*low.dhcpstart), "10.0.2.1");
}

TEST(SlirpOptions, HostBitsOfAPrefixAreMasked) {
  for (const auto& params :
       {Params{{"ipv6-net", "fd00:77::5/64"}}, Params{{"ipv6-prefix", "fd00:77::1:2:3:4"}},
        Params{{"ipv6-prefix", "fd00:77:0:ff::"}, {"ipv6-prefixlen", "56"}}}) {
    const Config c = make_config(params);
    EXPECT_EQ(text6(c.prefix6), "fd00:77::") << params[0].second;
    EXPECT_EQ(text6(*c.host6), "fd00:77::2") << params[0].second;
    EXPECT_EQ(text6(*c.dns6), "fd00:77::3") << params[0].second;
  }
  EXPECT_EQ(text6(one("ipv6-net", "fd00::ff/126").prefix6), "fd00::fc");
}

TEST(SlirpOptions, AFamilyThatIsOffIsNotChecked) {
  const Config six = make_config({{"ipv4", "off"}, {"net", "10.0.2.0/30"}, {"host", "192.0.2.1"}});
  EXPECT_TRUE(six.dns && six.dhcpstart);
  const Config four = make_config({{"ipv6", "off"}, {"ipv6-host", "fd00::2"}});
  EXPECT_EQ(text6(*four.dns6), "fec0::3");
  EXPECT_EQ(failure({{"ipv6", "off"}, {"ipv6-dns", "fec0::2"}}), "");
}

TEST(SlirpOptions, RepeatedOnesAddUp) {
  const Config c = make_config({{"dnssearch", "a.org"},
                                {"dnssearch", "b.org"},
                                {"hostfwd", "tcp::0-:22"},
                                {"hostfwd", "udp::0-:53"},
                                {"guestfwd", "tcp::7-cmd:cat"},
                                {"guestfwd", "tcp::9-cmd:cat"}});
  EXPECT_EQ(c.dnssearch, (std::vector<std::string>{"a.org", "b.org"}));
  EXPECT_EQ(c.hostfwd.size(), 2u);
  EXPECT_EQ(c.guestfwd.size(), 2u);
  EXPECT_EQ(text4(c.guestfwd[0].address), "10.0.2.4");
}

TEST(SlirpOptions, WhatDoesNotFitTogether) {
  const test::ScratchDir dir;
  for (const auto& [params, part] : std::vector<std::pair<Params, std::string>>{
           {{{"ipv4", "off"}, {"ipv6", "off"}}, "ipv4=off"},
           {{{"host", "10.0.2.3"}}, "three different"},
           {{{"host", "10.0.2.15"}}, "three different"},
           {{{"dns", "10.0.2.15"}}, "three different"},
           {{{"dns", "10.0.2.2"}}, "three different"},
           {{{"ipv6-host", "fd00::2"}}, "ipv6-host"},
           {{{"ipv6-dns", "fd00::2"}}, "ipv6-dns"},
           {{{"ipv6-dns", "fec0::2"}}, "different"},
           {{{"net", "10.0.2.0/30"}}, "net is too small"},
           {{{"net", "10.0.2.0/30"}, {"dns", "10.0.2.1"}}, "net is too small"},
           {{{"net", "10.0.2.0/28"}, {"dhcpstart", "10.0.2.15"}}, "dhcpstart"},
           {{{"net", "127.0.0.0/8"}}, "net:"},
           {{{"net", "224.0.0.0/4"}}, "net:"},
           {{{"ipv6-net", "ff02::/64"}}, "ipv6-net:"},
           {{{"hostname", std::string(200, 'h')}, {"domainname", std::string(60, 'd')}}, "DHCP"},
           {{{"dnssearch", ".."}}, "dnssearch"},
           {{{"dnssearch", std::string(64, 'x') + ".org"}}, "dnssearch"},
           {{{"tftp", dir.path()}, {"mtu", "1400"}}, "mtu"},
           {{{"guestfwd", "tcp:10.0.2.4:7-cmd:cat"}, {"guestfwd", "tcp::7-cmd:true"}},
            "another guestfwd"}}) {
    const std::string why = failure(params);
    EXPECT_NE(why.find(part), why.npos) << params[0].first << ": " << why;
  }
}

}  // namespace
}  // namespace rp::slirp
