// SPDX-License-Identifier: BSD-3-Clause
// handles.h - the C ABI's objects with owners, for the tests.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ringplug.h"

namespace rp::test {

struct Closer {
  void operator()(rp_plug* p) const { rp_plug_close(p); }
  void operator()(rp_switch* s) const { rp_switch_free(s); }
};
using PlugHandle = std::unique_ptr<rp_plug, Closer>;
using SwitchHandle = std::unique_ptr<rp_switch, Closer>;

inline rp_error no_error() {
  return RP_ERROR_INIT;
}

inline PlugHandle open_plug(const char* locator, const rp_plug_options* options = nullptr) {
  rp_error err = no_error();
  rp_plug* plug = nullptr;
  EXPECT_EQ(rp_plug_open(locator, options, &plug, &err), RP_OK) << err.message;
  return PlugHandle(plug);
}

inline SwitchHandle new_switch(int host_loop = 0) {
  rp_error err = no_error();
  rp_switch_options options = RP_SWITCH_OPTIONS_INIT;
  options.host_loop = host_loop;
  rp_switch* sw = nullptr;
  EXPECT_EQ(rp_switch_new(&options, &sw, &err), RP_OK) << err.message;
  return SwitchHandle(sw);
}

inline PlugHandle join(const SwitchHandle& sw, const char* name = nullptr) {
  rp_error err = no_error();
  rp_plug_options options = RP_PLUG_OPTIONS_INIT;
  options.name = name;
  rp_plug* plug = nullptr;
  EXPECT_EQ(rp_plug_join(sw.get(), &options, &plug, &err), RP_OK) << err.message;
  return PlugHandle(plug);
}

inline bool readable(int fd, int patience_ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, patience_ms) == 1;
}

/// A broadcast of `length` bytes from station `station`; byte 14 is `mark`.
inline std::vector<std::uint8_t> broadcast(std::uint8_t station, std::uint8_t mark,
                                           std::size_t length = 60) {
  std::vector<std::uint8_t> frame(length, 0xff);
  const std::uint8_t rest[] = {0x52, 0x54, 0, 0, 0, station, 0x88, 0xb5, mark};
  std::memcpy(frame.data() + 6, rest, sizeof rest);
  return frame;
}

using Counters = std::map<std::string, std::uint64_t>;  ///< "port/counter"

inline void count(void* opaque, rp_port, const char* port, const char* counter,
                  std::uint64_t value) {
  (*static_cast<Counters*>(opaque))[std::string(port) + "/" + counter] += value;
}

struct Port {
  std::string name, detail;
  int link;
};

inline void keep_port(void* opaque, const rp_port_info* i) {
  EXPECT_EQ(i->size, sizeof *i);
  static_cast<std::map<rp_port, Port>*>(opaque)->insert({i->port, {i->name, i->detail, i->link}});
}

inline std::map<rp_port, Port> ports_of(const SwitchHandle& sw) {
  std::map<rp_port, Port> ports;
  rp_error err = no_error();
  EXPECT_EQ(rp_switch_ports(sw.get(), keep_port, &ports, &err), RP_OK) << err.message;
  return ports;
}

inline void keep_address(void* opaque, const rp_address_info* i) {
  EXPECT_EQ(i->size, sizeof *i);
  static_cast<std::vector<rp_address_info>*>(opaque)->push_back(*i);
}

inline std::vector<rp_address_info> addresses_of(const SwitchHandle& sw) {
  std::vector<rp_address_info> found;
  rp_error err = no_error();
  EXPECT_EQ(rp_switch_addresses(sw.get(), keep_address, &found, &err), RP_OK) << err.message;
  return found;
}

}  // namespace rp::test
