// SPDX-License-Identifier: BSD-3-Clause
// bochs_abi.h - what a network module of Bochs and its host know of each other.
//
// Bochs has no published interface for modules: what follows is declared from the mangled names
// that its binary exports and from watching it. Checked against Bochs 2.7 (Debian's 2.7+dfsg-4) and
// 3.0, on x86-64. Older ones look for no modules of others; newer ones are known by the names
// below.
//
// All is weak, so that the module loads into any host: whoever uses it asks missing_symbol()
// before. Compile without RTTI, whose names are weak nowhere.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <span>

namespace rp::bochs {

/// The second argument of the entry.
enum PluginType : std::uint16_t { kTypeNone = 0, kTypeNet = 0x400 };

/// The third argument of the entry, and what it asks for.
enum EntryMode : std::uint8_t {
  kModeFini = 0,
  kModeInit = 1,   ///< returns 0
  kModeProbe = 2,  ///< returns a PluginType; the library is unloaded after
  kModeFlags = 3,  ///< returns bits about the module; none of them is for networks
};

/// What a card's receive status tells.
enum RxStatus : std::uint32_t { kRxReady = 0x1, kSpeedMask = 0xe, kSpeed10 = 0x2 };

/// The longest frame that each of the cards takes, bytes without FCS.
constexpr unsigned kMaxFrame = 1514;
/// The shortest that they take for one, where they don't pad it themselves.
constexpr unsigned kMinFrame = 60;

using RxHandler = void (*)(void* card, const void* frame, unsigned length);
using RxStatusHandler = std::uint32_t (*)(void* card);

}  // namespace rp::bochs

#define RP_BOCHS __attribute__((weak, visibility("default")))

/// A card's voice in the log. Not thread-safe. Never constructed here.
class logfunctions {
 public:
  RP_BOCHS void info(const char* format, ...) __attribute__((format(printf, 2, 3)));
  RP_BOCHS void error(const char* format, ...) __attribute__((format(printf, 2, 3)));
};

/// The clock, which counts the guest's time. Only its address is known here.
class bx_pc_system_c {
 public:
  /// Returns the timer's index. Times are the guest's microseconds.
  RP_BOCHS int register_timer(void* opaque, void (*fire)(void* opaque), unsigned microseconds,
                              bool continuous, bool active, const char* name);
  RP_BOCHS void deactivate_timer(unsigned index);
  /// The timer must not be active: that is a panic.
  RP_BOCHS bool unregisterTimer(unsigned index);
};
extern RP_BOCHS bx_pc_system_c bx_pc_system;

/// A card's way out; the card deletes it.
class eth_pktmover_c {
 public:
  virtual void sendpkt(void* frame, unsigned length) = 0;
  virtual ~eth_pktmover_c() = default;

 protected:
  // The base class has these three; only the modules use them.
  logfunctions* netdev = nullptr;  // also the first argument of the handlers
  rp::bochs::RxHandler rxh = nullptr;
  rp::bochs::RxStatusHandler rxstat = nullptr;
};

/// Makes movers; enters itself into Bochs' list of modules when constructed, and leaves it.
class eth_locator_c {
 protected:
  RP_BOCHS explicit eth_locator_c(const char* type);
  RP_BOCHS virtual ~eth_locator_c();
  virtual eth_pktmover_c* allocate(const char* ethdev, const char* mac, rp::bochs::RxHandler rxh,
                                   rp::bochs::RxStatusHandler rxstat, logfunctions* netdev,
                                   const char* script) = 0;

 private:
  eth_locator_c* next;
  const char* type;
};

namespace rp::bochs {

// Parameter types are part of a name, so that it goes missing when one changes.

/// What a locator needs to exist.
inline constexpr const char* kLocatorSymbols[] = {
    "_ZN13eth_locator_cC2EPKc",
    "_ZN13eth_locator_cD2Ev",
};
/// What a mover needs to move frames.
inline constexpr const char* kMoverSymbols[] = {
    "_ZN12logfunctions4infoEPKcz",
    "_ZN12logfunctions5errorEPKcz",
    "_ZN14bx_pc_system_c14register_timerEPvPFvS0_EjbbPKc",
    "_ZN14bx_pc_system_c16deactivate_timerEj",
    "_ZN14bx_pc_system_c15unregisterTimerEj",
    "bx_pc_system",
};

/// The first of these names that the host program lacks; nullptr: it has all.
inline const char* missing_symbol(std::span<const char* const> names) {
  for (const char* name : names)
    if (!dlsym(RTLD_DEFAULT, name)) return name;
  return nullptr;
}

}  // namespace rp::bochs
