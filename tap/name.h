// SPDX-License-Identifier: BSD-3-Clause
// name.h - which names a network device may have.
#pragma once

#include <string>

namespace rp::tap {

/// Throws Error unless the kernel and every tool take `name` as it is: 1 to 15 bytes that print,
/// none of them blank, '/', ':' or '%' (a template for the kernel), and not "." or "..". `what`
/// starts the sentence.
void check_name(const std::string& name, const std::string& what);

}  // namespace rp::tap
