// SPDX-License-Identifier: BSD-3-Clause
// flow.h - which flow a frame belongs to, for spreading flows over queues.
#pragma once

#include <cstddef>
#include <cstdint>

#include "switch/frame.h"

namespace rp::sw {

/// The same for all frames of a flow: addresses, IP addresses and ports. Only a hint: who sends can
/// choose what it is.
std::size_t flow_hash(const Frame& frame) noexcept;

}  // namespace rp::sw
