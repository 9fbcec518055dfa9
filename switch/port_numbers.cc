// SPDX-License-Identifier: BSD-3-Clause
// port_numbers.cc - who gets which number.
#include "switch/port_numbers.h"

#include "base/error.h"

namespace rp::sw {
namespace {

constexpr unsigned kMost = 65535;

bool admits(const PortPolicy& p, const Claim& c) noexcept {
  // A port of our own making has no user.
  if (c.user == PortPolicy::kAnyUser || c.user == 0) return true;
  return (p.user == PortPolicy::kAnyUser || p.user == c.user) &&
         (p.group == PortPolicy::kAnyGroup || p.group == c.group);
}

}  // namespace

void PortNumbers::check(unsigned number) const {
  if (number == 0 || number > limit_)
    throw Error(Errc::invalid, "port " + std::to_string(number) + ": numbers go from 1 to " +
                                   std::to_string(limit_));
}

unsigned PortNumbers::vacant() const {
  unsigned number = 1;
  for (const auto& [taken, unused] : numbers_) {
    if (taken != number) break;
    ++number;
  }
  if (number > limit_)
    throw Error(Errc::resources, "all " + std::to_string(limit_) + " port numbers are taken");
  return number;
}

unsigned PortNumbers::allocate(const Claim& claim) const {
  unsigned next = 1;
  for (const auto& [number, n] : numbers_) {
    if (number != next) break;
    if (n.ports == 0 && n.policy.allocatable && admits(n.policy, claim)) return number;
    ++next;
  }
  return vacant();
}

unsigned PortNumbers::take(const Claim& claim, const PortPolicy& initial) {
  if (claim.number != 0) check(claim.number);
  const unsigned number = claim.number ? claim.number : allocate(claim);
  const PortPolicy* own = policy(number);
  if (!admits(own ? *own : initial, claim))
    throw Error(Errc::denied, "port " + std::to_string(number) + " is another user's");
  ++numbers_.try_emplace(number, Numbered{initial}).first->second.ports;
  return number;
}

void PortNumbers::leave(unsigned number) noexcept {
  const auto it = numbers_.find(number);
  if (it == numbers_.end()) return;
  if (--it->second.ports == 0 && !it->second.kept) numbers_.erase(it);
}

const PortPolicy* PortNumbers::policy(unsigned number) const noexcept {
  const auto it = numbers_.find(number);
  return it == numbers_.end() ? nullptr : &it->second.policy;
}

void PortNumbers::set(unsigned number, const PortPolicy& policy) {
  check(number);
  Numbered& n = numbers_[number];
  n.policy = policy;
  n.kept = true;
}

void PortNumbers::forget(unsigned number) {
  const auto it = numbers_.find(number);
  if (it == numbers_.end())
    throw Error(Errc::unknown, "there is no port " + std::to_string(number));
  if (it->second.ports != 0)
    throw Error(Errc::busy, "port " + std::to_string(number) + " is in use");
  numbers_.erase(it);
}

void PortNumbers::set_limit(unsigned limit) {
  if (limit == 0 || limit > kMost)
    throw Error(Errc::invalid, "a switch has 1 to " + std::to_string(kMost) + " port numbers");
  if (!numbers_.empty() && numbers_.rbegin()->first > limit)
    throw Error(Errc::busy,
                "port " + std::to_string(numbers_.rbegin()->first) + " is above that, and in use");
  limit_ = limit;
}

void PortNumbers::each(const std::function<void(unsigned, const PortPolicy&, unsigned)>& fn) const {
  for (const auto& [number, n] : numbers_) fn(number, n.policy, n.ports);
}

}  // namespace rp::sw
