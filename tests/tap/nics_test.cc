// SPDX-License-Identifier: BSD-3-Clause
// nics_test.cc - what is hardware, and where simpler rules go wrong.
#include "tap/nics.h"

#include <filesystem>
#include <map>

#include "switch/mac_text.h"
#include "tap/doctor.h"
#include "tests/base/temp_folder.h"
#include "tests/tap/network.h"

namespace rp::test {
namespace {

using tap::NicFacts;
using tap::NicType;

NicFacts facts(const std::string& path, const std::string& bus = "", const std::string& kind = "") {
  NicFacts f;
  f.path = "/sys/devices" + path;
  f.bus = bus;
  f.kind = kind;
  return f;
}

struct Case {
  const char* what;
  NicFacts facts;
  const char* name;  ///< of the device
  const char* mac;
  NicType type;
};

const Case kCases[] = {
    {"a card", facts("/pci0000:00/0000:00:1f.6/net/eno1", "pci"), "eno1", "3c:52:82:00:00:01",
     NicType::physical},
    {"a USB adapter", facts("/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/net/enx00e04c", "usb"),
     "enx00e04c680001", "00:e0:4c:68:00:01", NicType::physical},
    {"a card with an address of its user's", facts("/pci0000:00/0000:02:00.0/net/wlp2s0", "pci"),
     "wlp2s0", "02:11:22:33:44:55", NicType::physical},
    {"a card that was renamed", facts("/pci0000:00/0000:03:00.0/net/veth-uplink", "pci"),
     "veth-uplink", "3c:52:82:00:00:02", NicType::physical},
    {"a port of a switch chip",
     facts("/platform/soc/30be0000.ethernet/mdio_bus/net/lan1", "mdio_bus", "dsa"), "lan1",
     "00:04:9f:00:00:01", NicType::physical},
    {"a board's Ethernet", facts("/platform/soc/fd580000.ethernet/net/eth0", "platform"), "eth0",
     "dc:a6:32:00:00:01", NicType::physical},
    {"virtio", facts("/pci0000:00/0000:00:03.0/virtio2/net/eth0", "virtio"), "eth0",
     "52:54:00:12:34:56", NicType::paravirtual},
    {"Hyper-V", facts("/LNXSYSTM:00/VMBUS:00/f8615163/net/eth0", "vmbus"), "eth0",
     "00:15:5d:00:00:01", NicType::paravirtual},
    {"Xen", facts("/vif-0/net/eth0", "xen"), "eth0", "00:16:3e:00:00:01", NicType::paravirtual},
    {"a bridge with its card's address", facts("/virtual/net/br0", "", "bridge"), "br0",
     "3c:52:82:00:00:01", NicType::virtual_device},
    {"a device named as a card", facts("/virtual/net/eth7", "", "veth"), "eth7",
     "00:1b:21:00:00:07", NicType::virtual_device},
    {"a tap", facts("/virtual/net/tap0", "", "tun"), "tap0", "3a:00:00:00:00:01",
     NicType::virtual_device},
    {"of another namespace, of a kind",
     {"", "macvlan", "", "", false, false},
     "x",
     "02:00:00:00:00:01",
     NicType::virtual_device},
    {"of another namespace",
     {"", "", "", "", false, false},
     "x",
     "02:00:00:00:00:01",
     NicType::unknown},
    {"loopback", {"", "", "", "", false, true}, "lo", "00:00:00:00:00:00", NicType::virtual_device},
    {"a virtual function",
     {"/sys/devices/pci0000:00/0000:3b:02.0/net/ens1v0", "", "pci", "iavf", true, false},
     "ens1v0",
     "d2:00:00:00:00:01",
     NicType::sriov_vf},
};

TEST(Nics, AreJudgedByWhereTheyHang) {
  for (const Case& c : kCases) {
    const auto v = judge_nic(c.facts);
    EXPECT_EQ(v.type, c.type) << c.what << ": " << v.evidence;
    EXPECT_FALSE(v.evidence.empty()) << c.what;
  }
}

/// "Locally administered means virtual."
bool virtual_by_address(const Case& c) {
  return sw::parse_mac(std::string(c.mac) == "00:00:00:00:00:00" ? "02:00:00:00:00:00" : c.mac)
             .bytes[0] &
         2;
}

/// "These names are virtual."
bool virtual_by_name(const Case& c) {
  const std::string name = c.name;
  for (const char* prefix : {"lo", "br", "veth", "tap", "tun", "docker", "virbr"})
    if (name.rfind(prefix, 0) == 0) return true;
  return false;
}

TEST(Nics, RulesByAddressOrNameAreWrongBothWays) {
  std::map<std::string, int> wrong;
  for (const Case& c : kCases) {
    if (c.type == NicType::unknown) continue;
    const bool hardware = c.type == NicType::physical;
    if (hardware && virtual_by_address(c)) ++wrong["address, hardware missed"];
    if (c.type == NicType::virtual_device && !virtual_by_address(c))
      ++wrong["address, taken for hardware"];
    if (hardware && virtual_by_name(c)) ++wrong["name, hardware missed"];
    if (c.type == NicType::virtual_device && !virtual_by_name(c))
      ++wrong["name, taken for hardware"];
  }
  EXPECT_EQ(wrong.size(), 4u);
}

TEST(Nics, FactsComeFromSysfs) {
  in_network(
      [] {
        tap::Netlink n;
        for (const char* name : {"card", "soft"})
          create_link(n, {.name = name, .kind = "bridge"}, "test");
        const TempFolder sys;
        namespace fs = std::filesystem;
        const fs::path root = sys.path(), pci = root / "devices/pci0000:00/0000:00:05.0";
        fs::create_directories(pci / "net/card");
        fs::create_directories(root / "devices/virtual/net/soft");
        fs::create_directories(root / "bus/pci/drivers/e1000e");
        fs::create_directories(root / "class/net");
        fs::create_directory_symlink(root / "bus/pci", pci / "subsystem");
        fs::create_directory_symlink(root / "bus/pci/drivers/e1000e", pci / "driver");
        fs::create_directory_symlink(pci, pci / "net/card/device");
        fs::create_directory_symlink(pci / "net/card", root / "class/net/card");
        fs::create_directory_symlink(root / "devices/virtual/net/soft", root / "class/net/soft");
        std::map<std::string, tap::Nic> found;
        tap::each_nic([&](const tap::Nic& nic) { found[nic.link.name] = nic; }, sys.path());
        EXPECT_EQ(found["card"].verdict.type, NicType::physical);
        EXPECT_EQ(found["card"].facts.bus, "pci");
        EXPECT_EQ(found["card"].facts.driver, "e1000e");
        EXPECT_EQ(found["soft"].verdict.type, NicType::virtual_device);
        EXPECT_EQ(found["soft"].facts.bus, "");
        EXPECT_EQ(found["lo"].verdict.type, NicType::virtual_device);
        // A function of another device.
        fs::create_directory_symlink(pci, pci / "physfn");
        tap::each_nic([&](const tap::Nic& nic) { found[nic.link.name] = nic; }, sys.path());
        EXPECT_EQ(found["card"].verdict.type, NicType::sriov_vf);
      },
      "/");
}

/// An adapter's key, as such registries have it.
struct WindowsCase {
  const char* what;
  const char* instance;
  unsigned characteristics;
  int media_sub_type;  ///< of the connection's key; -1: it has none
  NicType type;
};

const WindowsCase kWindows[] = {
    {"a card", R"(PCI\VEN_8086&DEV_15F3&SUBSYS_00008086&REV_02\3&11583659&0&FE)", 0x84, 1,
     NicType::physical},
    {"a card in small letters", R"(pci\ven_8086&dev_15f3\3)", 0x84, 1, NicType::physical},
    {"a USB adapter", R"(USB\VID_0B95&PID_1790\0000000000000A)", 0x84, 1, NicType::physical},
    {"Wi-Fi", R"(PCI\VEN_8086&DEV_2725\4&1A2B3C)", 0x84, 2, NicType::physical},
    {"Bluetooth PAN", R"(BTH\MS_BTHPAN\6&2A4D3C&0&2)", 0x4, 7, NicType::physical},
    {"a virtual switch's port", R"(ROOT\VMS_MP\0000)", 0x29, 1, NicType::virtual_device},
    {"a host-only adapter", R"(ROOT\NET\0001)", 0x1, 1, NicType::virtual_device},
    {"one that says physical", R"(ROOT\NET\0002)", 0x5, 1, NicType::virtual_device},
    {"Wi-Fi Direct", R"({5D624F94-8850-40C3-A3FA-A4FD2080BAF3}\VWIFIMP_WFD\5&1)", 0x9, -1,
     NicType::virtual_device},
    {"a miniport", R"(SWD\MSRRAS\MS_PPTPMINIPORT)", 0x29, -1, NicType::virtual_device},
    {"Hyper-V's", R"(VMBUS\{F8615163-DF3E-46C5-913F-F2D2F965ED0E}\{1})", 0x84, 1,
     NicType::paravirtual},
    {"virtio's", R"(PCI\VEN_1AF4&DEV_1041&SUBSYS_11001AF4\3&13C0B0C5)", 0x84, 1,
     NicType::paravirtual},
    {"Xen's", R"(XENVIF\VEN_XSC000&DEV_NET\0)", 0x84, 1, NicType::paravirtual},
    {"neither nor", R"(ACPI\VEN_TEST\0)", 0x8, 1, NicType::unknown},
};

tap::WindowsNic key_of(const WindowsCase& c) {
  return {true, c.characteristics, c.instance};
}

TEST(Nics, WindowsIsJudgedByCharacteristicsAndEnumerator) {
  for (const WindowsCase& c : kWindows) {
    const auto v = tap::judge_windows_nic(key_of(c));
    EXPECT_EQ(v.type, c.type) << c.what << ": " << v.evidence;
  }
  EXPECT_EQ(tap::judge_windows_nic({false, 0, R"(PCI\VEN_8086)"}).type, NicType::unknown);
  EXPECT_EQ(tap::judge_windows_nic({}).type, NicType::unknown);
}

TEST(Nics, WhereOlderWindowsRulesGoWrong) {
  std::map<std::string, std::vector<std::string>> wrong;
  for (const WindowsCase& c : kWindows) {
    const bool hardware = c.type == NicType::physical;
    const bool by_media = c.media_sub_type == 1 && std::string(c.instance).rfind("PCI", 0) == 0;
    if (by_media != hardware) wrong["media"].push_back(c.what);
    const bool by_bit = c.characteristics & 4;
    if (by_bit != hardware) wrong["bit"].push_back(c.what);
  }
  const auto& media = wrong["media"];
  EXPECT_NE(std::find(media.begin(), media.end(), "a USB adapter"), media.end());
  EXPECT_NE(std::find(media.begin(), media.end(), "Wi-Fi"), media.end());
  EXPECT_NE(std::find(media.begin(), media.end(), "virtio's"), media.end());
  const auto& bit = wrong["bit"];
  EXPECT_NE(std::find(bit.begin(), bit.end(), "one that says physical"), bit.end());
  EXPECT_NE(std::find(bit.begin(), bit.end(), "Hyper-V's"), bit.end());
}

TEST(Doctor, WhoMayPing) {
  EXPECT_TRUE(tap::ping_allowed("0\t2147483647", 0));
  EXPECT_TRUE(tap::ping_allowed("1000 1000", 1000));
  for (const char* range : {"1\t0", "1000 1000", "", "x y", "7"})
    EXPECT_FALSE(tap::ping_allowed(range, 999)) << range;
}

TEST(Doctor, WhatIsMissingHasARemedy) {
  in_network(
      [] {
        tap::Netlink n;
        const unsigned index = create_link(n, {.name = "br0", .kind = "bridge"}, "test");
        tap::LinkChange c;
        c.mtu = 1400;
        c.up = true;
        change_link(n, index, c, "test");
        for (const bool rights : {true, false}) {
          if (!rights && (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0)) return;
          std::map<std::string, tap::Finding> found;
          tap::examine_host([&](const tap::Finding& f) {
            EXPECT_EQ(f.remedy.empty(), f.state == tap::Finding::State::fine) << f.what;
            EXPECT_FALSE(f.found.empty());
            found[f.what] = f;
          });
          EXPECT_EQ(found.size(), 6u);
          const auto fine = [&](const char* what) {
            return found[what].state == tap::Finding::State::fine;
          };
          EXPECT_EQ(fine("CAP_NET_ADMIN"), rights);
          EXPECT_EQ(fine("CAP_NET_RAW"), rights);
          EXPECT_FALSE(fine("MTU"));
          EXPECT_TRUE(contains(found["MTU"].found, "br0 has 1400"));
          EXPECT_FALSE(fine("ping_group_range"));  // nobody's in a new namespace
        }
      },
      "/");
}

}  // namespace
}  // namespace rp::test
