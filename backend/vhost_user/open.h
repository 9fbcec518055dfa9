// SPDX-License-Identifier: BSD-3-Clause
// open.h - the options of the locator vhost-user:PATH.
#pragma once

#include <span>

#include "backend/locator.h"
#include "backend/vhost_user/port.h"
#include "base/option.h"

namespace rp::backend::vhost_user {

/// In the order of the documentation.
std::span<const Option<PortOptions>> options();

/// Throws Error that names what is wrong.
PortOptions make_options(const Locator& locator);

}  // namespace rp::backend::vhost_user
