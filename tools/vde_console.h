// SPDX-License-Identifier: BSD-3-Clause
// vde_console.h - vde_switch's management commands, as vdeterm, vdecmd and rc files speak them.
//
// The protocol: a prompt; a command a line; "0000 DATA END WITH '.'", lines and "." where the
// command prints something; then "1000 Success", or 1 and errno in three digits. Numbers of ports
// and VLANs are the switch's own (rp_switch_set()). What our switch hasn't (spanning tree, plugins,
// debug events, a hash size that changes) is refused with an errno, not ignored.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ringplug.h"
#include "tools/line_server.h"
#include "tools/switch_state.h"

namespace rp::tools {

class VdeConsole {
 public:
  /// `path` is the management socket's, for showinfo; `since` g_get_monotonic_time() at the start.
  VdeConsole(rp_switch* sw, std::string name, std::string path, std::int64_t since);

  std::string greeting() const;
  LineServer::Reply answer(const std::string& line);
  /// Runs a file's commands. Throws Complaint that names the line that failed.
  void load(const std::string& path);

 private:
  using Args = std::vector<std::string>;
  struct Command {
    const char* path;
    const char* syntax;
    const char* help;
    bool data;  ///< prints something
    void (VdeConsole::*run)(const Args&);
  };
  static const Command kCommands[];
  struct Membership {
    unsigned untagged = 0;
    std::bitset<4096> tagged;
    bool has(unsigned vlan) const { return untagged == vlan || tagged[vlan]; }
  };

  /// What a command answers: its errno, 0 when it is done.
  int run(const std::string& line);

  void help(const Args&);
  void show_info(const Args&);
  void logout(const Args&);
  void shutdown(const Args&);
  void load_file(const Args&);
  void doors(const Args&);
  void hash_info(const Args&);
  void hash_expire(const Args&);
  void hash_minper(const Args&);
  void hash_print(const Args&);
  void hash_find(const Args&);
  void port_info(const Args&);
  void port_limit(const Args&);
  void port_hub(const Args&);
  void port_vlan(const Args&);
  void port_create(const Args&);
  void port_create_auto(const Args&);
  void port_remove(const Args&);
  void port_allocatable(const Args&);
  void port_user(const Args&);
  void port_group(const Args&);
  void port_close(const Args&);
  void port_default_queue(const Args&);
  void port_queue(const Args&);
  void port_reset(const Args&);
  void port_print(const Args&);
  void port_print_all(const Args&);
  void vlan_create(const Args&);
  void vlan_remove(const Args&);
  void vlan_add(const Args&);
  void vlan_del(const Args&);
  void vlan_print(const Args&);
  void vlan_print_all(const Args&);
  void stp_info(const Args&);
  void stp_set(const Args&);
  void refuse(const Args&);
  void nothing(const Args&);

  void say(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void set(unsigned number, const char* key, const std::string& value);
  unsigned existing_port(const Args& args, std::size_t i = 0);
  /// The endpoint of the port that the first two arguments name.
  rp_port existing_endpoint(const Args& args);
  unsigned existing_vlan(const Args& args, std::size_t i = 0);
  void print_address(const rp_address_info& a);
  void print_port(unsigned number, bool idle_too);
  void print_ports(const Args& args, bool idle_too);
  void print_vlan(unsigned vlan, bool idle_too);
  void print_vlans(const Args& args, bool idle_too);
  void learn_memberships();
  bool has_ports(unsigned vlan) const;
  bool active(unsigned number) const;

  rp_switch* const switch_;
  const std::string name_, path_;
  const std::int64_t since_;
  std::bitset<4096> vlans_;                     ///< those that were created; VLAN 0 is
  SwitchState state_;                           ///< as it was when the command came
  std::map<unsigned, Membership> memberships_;  ///< of each port number in state_
  std::string out_;
  bool ended_ = false;
  int loading_ = 0;
};

}  // namespace rp::tools
