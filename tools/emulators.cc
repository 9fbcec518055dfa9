// SPDX-License-Identifier: BSD-3-Clause
#include "tools/emulators.h"

#include "tools/command.h"

namespace rp::tools {
namespace {

constexpr const char* kQemuNic = "virtio-net-pci";
constexpr const char* kBochsNic = "e1000";
/// As QEMU's first card has it; Bochs wants one to be given.
constexpr const char* kBochsMac = "52:54:00:12:34:56";
/// A parameter in bochsrc, its name included.
constexpr std::size_t kBochsLongest = 510;

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

bool mentions(const Arguments& arguments, const std::string& what) {
  for (const auto& a : arguments)
    if (a.find(what) != a.npos) return true;
  return false;
}

/// The first of PREFIX0, PREFIX1, ... that no argument has.
std::string free_name(const Arguments& arguments, const std::string& prefix) {
  for (int n = 0;; ++n) {
    const std::string name = prefix + std::to_string(n);
    if (!mentions(arguments, name)) return name;
  }
}

std::string plain_url(const Request& r) {
  return r.url();
}

void prepend_url(const Request& r, Arguments& arguments) {
  arguments.insert(arguments.begin(), r.url());
}

/// QEMU splits options at commas; two stand for one.
std::string qemu_url(const Request& r) {
  return replaced(r.url(), ",", ",,");
}

void append_netdev(const Request& r, Arguments& arguments) {
  const std::string id = free_name(arguments, "ringplug");
  arguments.insert(arguments.end(), {"-netdev", "vde,id=" + id + ",sock=" + qemu_url(r), "-device",
                                     (r.nic.empty() ? kQemuNic : r.nic) + ",netdev=" + id});
}

/// Bochs replaces $NAME even between quotes, has no way to write a quote there, and makes one comma
/// of several.
std::string bochs_locator(const Request& r) {
  for (const auto& [what, write] : {std::pair{"\"", "%22"}, {"$", "%24"}, {",,", ",%2C"}})
    if (r.locator.find(what) != r.locator.npos)
      throw Complaint(kUsage, "Bochs can't be told a locator with " + std::string(what) +
                                  "; write " + write + " for it");
  if (r.locator.size() > kBochsLongest - std::string("ethdev=").size())
    throw Complaint(kUsage, "the locator is longer than Bochs reads, which is 503 characters");
  return r.locator;
}

void append_bochs_card(const Request& r, Arguments& arguments) {
  const std::string nic = r.nic.empty() ? kBochsNic : r.nic;
  const std::size_t comma = nic.find(',');
  // card=N must come first; of anything else, the last one counts.
  std::string line = nic.substr(0, comma) + ": ";
  if (comma != nic.npos) line += nic.substr(comma + 1) + ", ";
  if (nic.find("mac=") == nic.npos) line += std::string("mac=") + kBochsMac + ", ";
  line += "enabled=1, ethmod=ringplug, ethdev=\"" + bochs_locator(r) + "\"";
  arguments.push_back(line);
}

/// User-mode Linux splits at commas, and its command line at blanks.
std::string uml_url(const Request& r) {
  return replaced(replaced(r.url(), ",", "%2C"), " ", "%20");
}

void append_uml_card(const Request& r, Arguments& arguments) {
  arguments.push_back(free_name(arguments, "eth") + "=vde," + uml_url(r));
}

constexpr Emulator kEmulators[] = {
    {"qemu-system-*", kQemuNic, qemu_url, append_netdev, libvdeplug_variable},
    {"qemu-kvm", kQemuNic, qemu_url, append_netdev, libvdeplug_variable},
    {"kvm", kQemuNic, qemu_url, append_netdev, libvdeplug_variable},
    {"bochs", kBochsNic, bochs_locator, append_bochs_card, bochs_variable},
    {"bochs-bin", kBochsNic, bochs_locator, append_bochs_card, bochs_variable},
    {"linux.uml", nullptr, uml_url, append_uml_card, libvdeplug_variable},
    {"linux", nullptr, uml_url, append_uml_card, libvdeplug_variable},
    {"vde_plug", nullptr, plain_url, prepend_url, libvdeplug_variable},
    {"vdens", nullptr, plain_url, prepend_url, libvdeplug_variable},
};

}  // namespace

const Emulator* find_emulator(const std::string& program) {
  const GText base(g_path_get_basename(program.c_str()));
  for (const Emulator& e : kEmulators)
    if (g_pattern_match_simple(e.name, base.get())) return &e;
  return nullptr;
}

std::string emulator_names(bool choosy) {
  std::string names;
  for (const Emulator& e : kEmulators)
    if (e.nic || !choosy) names += (names.empty() ? "" : ", ") + std::string(e.name);
  return names;
}

}  // namespace rp::tools
