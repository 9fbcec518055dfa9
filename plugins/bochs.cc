// SPDX-License-Identifier: BSD-3-Clause
// bochs.cc - the network module that Bochs loads for ethmod=ringplug, ethdev="LOCATOR".
//
// Bochs is one thread. A card sends by sendpkt(), at once; what waits for it is handed over on a
// timer, as many frames as it has room for. The timer counts the guest's time, so that a guest that
// runs slowly is asked no more often, in its own terms, than a fast one.
//
// Bochs loads each module twice: once to ask what it is, then to use it. So nothing happens before
// INIT and nothing is left after FINI. A module that fails to load is a panic to Bochs, so what
// goes wrong is a sentence in its log, and a card that is on no network.
#include <array>
#include <cstdio>
#include <cstring>
#include <new>
#include <span>
#include <string_view>

#include "api/ringplug.h"
#include "plugins/bochs_abi.h"
#include "plugins/bochs_log.h"
#include "plugins/bochs_moderation.h"
#include "plugins/bochs_room.h"

namespace rp::bochs {
namespace {

/// Frames handed over in one tick, at most: the guest must get on, even if it is slower than the
/// network.
constexpr int kFramesPerTick = 64;

/// One card's plug.
class Mover final : public eth_pktmover_c {
 public:
  Mover(logfunctions* card, RxHandler handler, RxStatusHandler status)
      : room_((status(card) & kSpeedMask) == kSpeed10) {
    netdev = card;
    rxh = handler;
    rxstat = status;
  }

  /// Says why not when it fails; the card is on no network then.
  void open(const char* locator) {
    rp_plug_options options = RP_PLUG_OPTIONS_INIT;
    options.name = "bochs";
    options.log = Log::add;
    options.log_opaque = &log_;
    rp_error err = RP_ERROR_INIT;
    if (rp_plug_open(locator, &options, &plug_, &err) != 0) {
      log_.flush(*netdev);
      netdev->error("ringplug: %s", err.message);
      netdev->error("ringplug: this card is on no network: ethdev=\"%s\" can't be opened", locator);
      return;
    }
    timer_ = bx_pc_system.register_timer(this, tick, kTick, true, true, "ringplug");
    netdev->info("ringplug %s: %s", rp_version(), locator);
  }

  ~Mover() override {
    if (!plug_) return;
    // Bochs calls it a panic to unregister an active timer.
    bx_pc_system.deactivate_timer(static_cast<unsigned>(timer_));
    bx_pc_system.unregisterTimer(static_cast<unsigned>(timer_));
    rp_plug_kick(plug_);
    rp_plug_close(plug_);
    log_.flush(*netdev);
    if (too_long_ + unsent_ > 0)
      netdev->info("ringplug: dropped %llu frames longer than %u bytes, and %llu sent too fast",
                   too_long_, kMaxFrame, unsent_);
  }

  void sendpkt(void* frame, unsigned length) override {
    room_.guest_sent({static_cast<const std::uint8_t*>(frame), length});
    if (!plug_) return;
    void* place = rp_plug_reserve(plug_, length);
    if (!place) {
      ++unsent_;
      return;
    }
    std::memcpy(place, frame, length);
    rp_plug_commit(plug_, length, nullptr);
    if (moderation_.sent()) rp_plug_kick(plug_);
  }

 private:
  static void tick(void* self) { static_cast<Mover*>(self)->receive(); }

  bool ready() const { return (rxstat(netdev) & kRxReady) != 0; }

  void receive() {
    log_.flush(*netdev);
    room_.ticked();
    if (room_.left() && ready()) moderation_.saw(fill());
    if (moderation_.ticked()) rp_plug_kick(plug_);
  }

  /// Hands frames to the card; returns how many wait for the next time, as far as that matters.
  std::size_t fill() {
    for (int n = 0; n < kFramesPerTick && room_.left() && ready(); ++n) {
      const ssize_t length = rp_plug_recv(plug_, frame_.data(), frame_.size());
      if (length < 0) lost();
      if (length <= 0) return 0;
      deliver(static_cast<std::size_t>(length));
    }
    std::array<rp_frame, Moderation::kBacklog> waiting;
    const std::size_t n = rp_plug_peek(plug_, waiting.data(), waiting.size());
    rp_plug_release(plug_, 0);
    return n;
  }

  void deliver(std::size_t length) {
    if (length > kMaxFrame) {
      if (too_long_++ == 0)
        netdev->error("ringplug: a frame of %zu bytes is dropped: Bochs' cards take %u", length,
                      kMaxFrame);
      return;
    }
    if (length < kMinFrame) {
      std::memset(frame_.data() + length, 0, kMinFrame - length);
      length = kMinFrame;
    }
    room_.take(std::span(frame_).first(length));
    // The card may move the bytes about: it gets a copy of its own.
    rxh(netdev, frame_.data(), static_cast<unsigned>(length));
  }

  void lost() {
    if (lost_) return;
    lost_ = true;
    netdev->error("ringplug: the network is gone, and does not come back before a restart");
  }

  rp_plug* plug_ = nullptr;
  int timer_ = 0;
  Log log_;
  Room room_;
  Moderation moderation_;
  bool lost_ = false;
  unsigned long long too_long_ = 0;
  unsigned long long unsent_ = 0;
  std::array<unsigned char, kMaxFrame> frame_;
};

/// To where a Bochs that we don't know surely shows it.
void say_unknown(const char* missing) {
  std::fprintf(stderr,
               "ringplug: ethmod=ringplug is made for Bochs 2.7 to 3.0 and does not know this one: "
               "it has no %s. Its card is on no network\n",
               missing);
}

bool given(const char* text) {
  return text && *text != '\0' && std::strcmp(text, "none") != 0;
}

class Locator final : public eth_locator_c {
 public:
  Locator() : eth_locator_c("ringplug") {}
  ~Locator() override = default;

 protected:
  eth_pktmover_c* allocate(const char* ethdev, const char*, RxHandler rxh, RxStatusHandler rxstat,
                           logfunctions* netdev, const char* script) override {
    auto* mover = new (std::nothrow) Mover(netdev, rxh, rxstat);
    if (!mover) return nullptr;
    if (const char* missing = missing_symbol(kMoverSymbols)) {
      say_unknown(missing);
      return mover;
    }
    if (given(script))
      netdev->error("ringplug: script=%s is ignored; options are part of the locator in ethdev=",
                    script);
    // Other emulators need it in front; here it may stand.
    constexpr std::string_view kUrl = "ringplug://";
    const bool url = std::string_view(ethdev).starts_with(kUrl);
    mover->open(given(ethdev) ? ethdev + (url ? kUrl.size() : 0) : "");
    return mover;
  }
};

/// Where the only one lives, from INIT to FINI.
alignas(Locator) std::array<unsigned char, sizeof(Locator)> locator_place;
Locator* locator = nullptr;

int init(unsigned type) {
  const char* missing = missing_symbol(kLocatorSymbols);
  if (!missing && type == kTypeNet)
    locator = new (locator_place.data()) Locator;
  else  // Bochs goes on to say that there is no such module
    say_unknown(missing ? missing : "such type of modules");
  return 0;
}

int fini() {
  if (locator) locator->~Locator();
  locator = nullptr;
  return 0;
}

}  // namespace
}  // namespace rp::bochs

extern "C" __attribute__((visibility("default"))) int libeth_ringplug_plugin_entry(
    void*, std::uint16_t type, std::uint8_t mode) {
  switch (mode) {
    case rp::bochs::kModeProbe:
      return rp::bochs::kTypeNet;
    case rp::bochs::kModeInit:
      return rp::bochs::init(type);
    case rp::bochs::kModeFini:
      return rp::bochs::fini();
    default:
      return 0;
  }
}
