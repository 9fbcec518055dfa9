// SPDX-License-Identifier: BSD-3-Clause
// needs.h - what a NAT that runs asks of the kernel.
#pragma once

#include "base/needs.h"
#include "slirp/config.h"

namespace rp::slirp {

void tell_needs(const Config& config, const NeedSink& sink);

}  // namespace rp::slirp
