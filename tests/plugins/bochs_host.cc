// SPDX-License-Identifier: BSD-3-Clause
#include "tests/plugins/bochs_host.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>

namespace {

std::vector<std::pair<eth_locator_c*, std::string>> locators;

struct Timer {
  void* opaque;
  void (*fire)(void*);
  bool active;
};
std::map<unsigned, Timer> timers;
unsigned next_timer = 1;

// A card's address is what the module knows as its log and as the handlers' argument.
rp::test::BochsCard& card_of(void* netdev) {
  return *static_cast<rp::test::BochsCard*>(netdev);
}

std::string formatted(const char* format, va_list args) {
  char text[1000];
  std::vsnprintf(text, sizeof text, format, args);
  return text;
}

}  // namespace

eth_locator_c::eth_locator_c(const char* name) : next(nullptr), type(name) {
  locators.emplace_back(this, name);
}
eth_locator_c::~eth_locator_c() {
  std::erase_if(locators, [this](const auto& l) { return l.first == this; });
}

bx_pc_system_c bx_pc_system;

int bx_pc_system_c::register_timer(void* opaque, void (*fire)(void*), unsigned microseconds, bool,
                                   bool active, const char*) {
  EXPECT_GT(microseconds, 0u);
  timers[next_timer] = {opaque, fire, active};
  return static_cast<int>(next_timer++);
}
void bx_pc_system_c::deactivate_timer(unsigned index) {
  timers.at(index).active = false;
}
bool bx_pc_system_c::unregisterTimer(unsigned index) {
  EXPECT_FALSE(timers.at(index).active) << "a panic in Bochs";
  return timers.erase(index) == 1;
}

void logfunctions::info(const char* format, ...) {
  va_list args;
  va_start(args, format);
  card_of(this).infos.push_back(formatted(format, args));
  va_end(args);
}
void logfunctions::error(const char* format, ...) {
  va_list args;
  va_start(args, format);
  card_of(this).errors.push_back(formatted(format, args));
  va_end(args);
}

namespace rp::test {
namespace {

/// Opens the way to a protected member, as Bochs' base class has it.
struct Allocating : eth_locator_c {
  using eth_locator_c::allocate;
};

std::uint32_t rx_status(void* card) {
  return card_of(card).speed | (card_of(card).ready ? std::uint32_t{bochs::kRxReady} : 0);
}
void rx_frame(void* card, const void* frame, unsigned length) {
  EXPECT_TRUE(card_of(card).ready);
  const auto* bytes = static_cast<const std::uint8_t*>(frame);
  card_of(card).received.emplace_back(bytes, bytes + length);
}

}  // namespace

BochsModule::BochsModule() : handle_(dlopen(RP_BOCHS_MODULE, RTLD_LAZY)) {
  EXPECT_NE(handle_, nullptr) << dlerror();
  entry = reinterpret_cast<decltype(entry)>(dlsym(handle_, "libeth_ringplug_plugin_entry"));
  EXPECT_NE(entry, nullptr);
}
BochsModule::~BochsModule() {
  dlclose(handle_);
}
bool BochsModule::is_mapped() {
  void* handle = dlopen(RP_BOCHS_MODULE, RTLD_LAZY | RTLD_NOLOAD);
  if (handle) dlclose(handle);
  return handle != nullptr;
}

std::vector<std::string> bochs_modules() {
  std::vector<std::string> names;
  for (const auto& [locator, name] : locators) names.push_back(name);
  return names;
}
std::size_t bochs_timers() {
  return timers.size();
}
void bochs_tick() {
  for (auto& [index, timer] : timers)
    if (timer.active) timer.fire(timer.opaque);
}

BochsCard::BochsCard(const std::string& ethdev, std::uint32_t bits, const std::string& script)
    : speed(bits) {
  static const char mac[] = {0x52, 0x54, 0, 0, 0, 1};
  for (const auto& [locator, name] : locators) {
    if (name != "ringplug") continue;
    auto allocate = &Allocating::allocate;
    mover_.reset((locator->*allocate)(ethdev.c_str(), mac, rx_frame, rx_status,
                                      reinterpret_cast<logfunctions*>(this), script.c_str()));
  }
}

}  // namespace rp::test
