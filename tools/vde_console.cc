// SPDX-License-Identifier: BSD-3-Clause
// vde_console.cc - the table of commands, and those that are no port's or VLAN's.
#include "tools/vde_console.h"

#include <glib.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tools/command.h"
#include "tools/table.h"
#include "tools/vde_failure.h"

namespace rp::tools {
namespace {

/// A file that loads itself ends here.
constexpr int kDeepestLoad = 8;
constexpr const char* kPrompt = "\nvde$ ";

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<std::string>(in), {}};
}

}  // namespace

constexpr VdeConsole::Command VdeConsole::kCommands[] = {
    {"ds/showinfo", "", "doors that listen", true, &VdeConsole::doors},
    {"help", "[COMMAND]", "this list", true, &VdeConsole::help},
    {"logout", "", "end this session", false, &VdeConsole::logout},
    {"shutdown", "", "end the switch", false, &VdeConsole::shutdown},
    {"showinfo", "", "the switch and its age", true, &VdeConsole::show_info},
    {"load", "FILE", "run the commands of a file", false, &VdeConsole::load_file},
    {"debug/list", "", "events that can be followed: none", true, &VdeConsole::nothing},
    {"debug/add", "EVENT", "not supported", false, &VdeConsole::refuse},
    {"debug/del", "EVENT", "not supported", false, &VdeConsole::refuse},
    {"plugin/list", "", "plugins: none", true, &VdeConsole::nothing},
    {"plugin/add", "LIBRARY", "not supported", false, &VdeConsole::refuse},
    {"plugin/del", "NAME", "not supported", false, &VdeConsole::refuse},
    {"hash/showinfo", "", "size and times of the address table", true, &VdeConsole::hash_info},
    {"hash/setsize", "N", "not supported while it runs", false, &VdeConsole::refuse},
    {"hash/setgcint", "N", "not supported: nothing is collected", false, &VdeConsole::refuse},
    {"hash/setexpire", "SECONDS", "forget addresses after", false, &VdeConsole::hash_expire},
    {"hash/setminper", "SECONDS", "keep an address on its port for", false,
     &VdeConsole::hash_minper},
    {"hash/print", "", "the address table", true, &VdeConsole::hash_print},
    {"hash/find", "MAC [VLAN]", "where an address is", true, &VdeConsole::hash_find},
    {"fstp/showinfo", "", "spanning tree: none", true, &VdeConsole::stp_info},
    {"fstp/setfstp", "0/1", "0 alone is supported", false, &VdeConsole::stp_set},
    {"fstp/setedge", "VLAN PORT 0/1", "not supported", false, &VdeConsole::refuse},
    {"fstp/bonus", "VLAN PORT COST", "not supported", false, &VdeConsole::refuse},
    {"fstp/print", "[VLAN]", "spanning tree: none", true, &VdeConsole::stp_info},
    {"port/showinfo", "", "limits and counters", true, &VdeConsole::port_info},
    {"port/setnumports", "N", "the highest port number", false, &VdeConsole::port_limit},
    {"port/sethub", "0/1", "1: a hub, 0: a switch", false, &VdeConsole::port_hub},
    {"port/setvlan", "PORT VLAN", "the VLAN of frames without a tag", false,
     &VdeConsole::port_vlan},
    {"port/createauto", "", "reserve a free number", true, &VdeConsole::port_create_auto},
    {"port/create", "PORT", "reserve a number", false, &VdeConsole::port_create},
    {"port/remove", "PORT", "forget a number that nobody uses", false, &VdeConsole::port_remove},
    {"port/allocatable", "PORT 0/1", "1: for who asks for no number", false,
     &VdeConsole::port_allocatable},
    {"port/setuser", "PORT USER", "whose processes may use it, or NONE", false,
     &VdeConsole::port_user},
    {"port/setgroup", "PORT GROUP", "of which group they must be, or NONE", false,
     &VdeConsole::port_group},
    {"port/epclose", "PORT ID", "disconnect an endpoint", false, &VdeConsole::port_close},
    {"port/defqlen", "N", "frames that wait for readers to come", false,
     &VdeConsole::port_default_queue},
    {"port/epqlen", "PORT ID N", "the same, of a port", false, &VdeConsole::port_queue},
    {"port/resetcounter", "[PORT]", "count from zero", false, &VdeConsole::port_reset},
    {"port/print", "[PORT]", "ports in use and their endpoints", true, &VdeConsole::port_print},
    {"port/allprint", "[PORT]", "all ports", true, &VdeConsole::port_print_all},
    {"vlan/create", "VLAN", "make a VLAN", false, &VdeConsole::vlan_create},
    {"vlan/remove", "VLAN", "take it away, when no port is in it", false, &VdeConsole::vlan_remove},
    {"vlan/addport", "VLAN PORT", "the port is in it, with tags", false, &VdeConsole::vlan_add},
    {"vlan/delport", "VLAN PORT", "the port leaves it", false, &VdeConsole::vlan_del},
    {"vlan/print", "[VLAN]", "VLANs and their ports in use", true, &VdeConsole::vlan_print},
    {"vlan/allprint", "[VLAN]", "VLANs and all their ports", true, &VdeConsole::vlan_print_all},
};

VdeConsole::VdeConsole(rp_switch* sw, std::string name, std::string path, std::int64_t since)
    : switch_(sw), name_(std::move(name)), path_(std::move(path)), since_(since) {
  vlans_.set(0);
}

std::string VdeConsole::greeting() const {
  return std::string("ringplug ") + rp_version() + ", switch " + name_ + "\n" + kPrompt;
}

LineServer::Reply VdeConsole::answer(const std::string& line) {
  const Args words = words_of(line);
  if (words.empty() || words[0].starts_with('#')) return {kPrompt, false};
  const int error = run(line);
  if (ended_) {
    ended_ = false;
    return {"9999 END OF SESSION", true};
  }
  char status[128];
  std::snprintf(status, sizeof status, "1%03d %s\n", error, error ? g_strerror(error) : "Success");
  return {out_ + status + kPrompt, false};
}

int VdeConsole::run(const std::string& line) {
  out_.clear();
  Args words = words_of(line);
  const Command* command = nullptr;
  for (const Command& c : kCommands)
    if (words[0] == c.path) command = &c;
  if (!command) return ENOSYS;
  words.erase(words.begin());
  if (command->data) out_ = "0000 DATA END WITH '.'\n";
  int error = 0;
  try {
    state_ = state_of(switch_);
    learn_memberships();
    (this->*command->run)(words);
  } catch (const VdeFailure& f) {
    error = f.error();
  } catch (const Complaint&) {
    error = EIO;
  }
  if (command->data) out_ += ".\n";
  return error;
}

void VdeConsole::load(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Complaint(kFailed, path + ": " + g_strerror(errno));
  if (loading_ == kDeepestLoad) throw Complaint(kFailed, path + ": loads itself");
  ++loading_;
  unsigned number = 0;
  int error = 0;
  for (std::string line; error == 0 && std::getline(file, line);) {
    ++number;
    const Args words = words_of(line);
    if (!words.empty() && !words[0].starts_with('#')) error = run(line);
  }
  --loading_;
  if (error != 0)
    throw Complaint(kFailed, path + ", line " + std::to_string(number) + ": " + g_strerror(error));
}

void VdeConsole::say(const char* format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  const int n = std::vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (n > 0) out_ += printable(line) + '\n';
}

void VdeConsole::set(unsigned number, const char* key, const std::string& value) {
  rp_error error = RP_ERROR_INIT;
  if (const int code = rp_switch_set(switch_, number, key, value.c_str(), &error); code != 0)
    throw VdeFailure(code);
}

void VdeConsole::help(const Args& args) {
  say("%-18s %-15s %s", "COMMAND PATH", "SYNTAX", "HELP");
  say("%-18s %-15s %s", "------------", "--------------", "------------");
  const std::string about = args.empty() ? "" : args[0];
  for (const Command& c : kCommands) {
    const std::string path = c.path;
    if (path.starts_with(about) && (path.size() == about.size() || about.empty() ||
                                    path[about.size()] == '/' || about.ends_with('/')))
      say("%-18s %-15s %s", c.path, c.syntax, c.help);
  }
}

void VdeConsole::show_info(const Args&) {
  say("ringplug %s, switch %s", rp_version(), name_.c_str());
  say("pid %d uptime %lld", static_cast<int>(getpid()),
      static_cast<long long>((g_get_monotonic_time() - since_) / G_USEC_PER_SEC));
  say("mgmt %s perm 0600", path_.c_str());
}

void VdeConsole::logout(const Args&) {
  ended_ = true;
}

void VdeConsole::shutdown(const Args&) {
  kill(getpid(), SIGTERM);
  ended_ = true;
}

void VdeConsole::load_file(const Args& args) {
  if (args.empty()) throw VdeFailure::of_errno(EINVAL);
  if (access(args[0].c_str(), R_OK) != 0) throw VdeFailure::of_errno(errno);
  try {
    load(args[0]);
  } catch (const Complaint&) {
    throw VdeFailure::of_errno(EINVAL);
  }
  out_.clear();
}

void VdeConsole::doors(const Args&) {
  constexpr const char* kVde = "vde:";
  for (const auto& [id, port] : state_.ports) {
    if (port.number != 0) continue;
    const bool vde = port.name.starts_with(kVde);
    say("%s %s", vde ? "ctl dir" : "door", port.name.c_str() + (vde ? std::strlen(kVde) : 0));
    if (vde) say("std mode 0600");
  }
}

void VdeConsole::hash_info(const Args&) {
  say("Hash size %zu", state_.addresses.size());
  say("GC expire %s secs", setting(state_, 0, "mac-ageing").c_str());
  say("Min persistence %s secs", setting(state_, 0, "mac-hold").c_str());
}

void VdeConsole::hash_expire(const Args& args) {
  set(0, "mac-ageing", argument(args, 0));
}

void VdeConsole::hash_minper(const Args& args) {
  set(0, "mac-hold", argument(args, 0));
}

void VdeConsole::print_address(const rp_address_info& a) {
  const auto port = state_.ports.find(a.port);
  say("Hash: %04u Addr: %s VLAN %04u to port: %03u  age %u secs", 0u, text_of(a.mac).c_str(),
      unsigned{a.vlan}, port == state_.ports.end() ? 0 : port->second.number, a.age);
}

void VdeConsole::hash_print(const Args&) {
  for (const rp_address_info& a : state_.addresses) print_address(a);
}

void VdeConsole::hash_find(const Args& args) {
  const GText mac(g_ascii_strdown(argument(args, 0).c_str(), -1));
  const unsigned vlan = args.size() > 1 ? number_in(args, 1, 0, 4094) : 0;
  for (const rp_address_info& a : state_.addresses) {
    if (text_of(a.mac) != mac.get() || a.vlan != vlan) continue;
    print_address(a);
    return;
  }
  throw VdeFailure::of_errno(ENODEV);
}

void VdeConsole::stp_info(const Args&) {
  say("FSTP=false");
}

void VdeConsole::stp_set(const Args& args) {
  if (number_in(args, 0, 0, 1) == 1) throw VdeFailure::of_errno(EOPNOTSUPP);
}

void VdeConsole::refuse(const Args&) {
  throw VdeFailure::of_errno(EOPNOTSUPP);
}

void VdeConsole::nothing(const Args&) {}

}  // namespace rp::tools
