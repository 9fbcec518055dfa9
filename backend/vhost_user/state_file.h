// SPDX-License-Identifier: BSD-3-Clause
// state_file.h - what outlives the process of a switch: the state of its packed rings.
//
// A split ring tells by its used index where its device was; a packed one does not, and QEMU does
// not keep it either. So the place of each packed ring is noted in a small file beside the socket,
// shared and mapped: what a killed process stored last is there for the next one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "backend/guest_memory.h"
#include "backend/packed_ring.h"
#include "base/fd.h"

namespace rp::backend::vhost_user {

class StateFile {
 public:
  /// Opens or makes the file, with room for so many rings. Throws Error, and leaves what is there:
  /// it is not ours alone, no file, or holds something else.
  StateFile(std::string path, std::size_t rings);
  /// Takes the file away, unless a ring still runs whose guest may find another switch.
  ~StateFile();
  StateFile(StateFile&&) = delete;

  std::span<PackedState> rings() const noexcept;
  /// No ring is to be gone on with.
  void clear() noexcept;

 private:
  std::string path_;
  std::size_t rings_;
  Fd file_;
  Mapping mapping_;
};

}  // namespace rp::backend::vhost_user
