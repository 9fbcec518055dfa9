// SPDX-License-Identifier: BSD-3-Clause
// port_numbers.h - the numbers of a switch's ports, and the policy that goes with each.
//
// A number outlives the port that has it: what was set for number 3 waits for whoever is next on
// number 3. Several ports may share a number, as two cables do during a hand-over. Numbers count
// from 1.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "switch/port.h"
#include "switch/port_policy.h"

namespace rp::sw {

class PortNumbers {
 public:
  /// The number that the claim gets, for one port more. `initial` is the policy of a number that
  /// has none of its own yet. Throws Error: the number is not the claimant's to have, or there is
  /// none left.
  unsigned take(const Claim& claim, const PortPolicy& initial);
  /// A port is gone; a number without ports forgets a policy that was not set().
  void leave(unsigned number) noexcept;

  /// The policy of a number; null when it has neither ports nor a policy.
  const PortPolicy* policy(unsigned number) const noexcept;
  /// Gives a number its policy, to stay. Throws Error: no such number can be.
  void set(unsigned number, const PortPolicy& policy);
  /// Takes a policy back. Throws Error: ports use the number, or it has none.
  void forget(unsigned number);
  /// The lowest number without ports or policy. Throws Error: none is left.
  unsigned vacant() const;

  /// The highest number there may be. Throws Error: one above is in use.
  void set_limit(unsigned limit);
  unsigned limit() const noexcept { return limit_; }

  void each(const std::function<void(unsigned, const PortPolicy&, unsigned ports)>& fn) const;

 private:
  struct Numbered {
    PortPolicy policy;
    unsigned ports = 0;
    bool kept = false;
  };
  void check(unsigned number) const;
  unsigned allocate(const Claim& claim) const;

  std::map<unsigned, Numbered> numbers_;
  unsigned limit_ = 65535;
};

}  // namespace rp::sw
