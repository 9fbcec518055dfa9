// SPDX-License-Identifier: BSD-3-Clause
// folder_names.h - what lies in a folder.
#pragma once

#include <string>
#include <vector>

namespace rp {

/// The names in the folder but "." and "..", in no order. Throws Error; unlike the standard
/// library's iterator, which ends the process, std::bad_alloc when memory runs out.
std::vector<std::string> names_in(const std::string& folder);

}  // namespace rp
