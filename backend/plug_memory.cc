// SPDX-License-Identifier: BSD-3-Clause
// plug_memory.cc - making, sealing and duplicating the shared memory.
#include "backend/plug_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"

namespace rp::backend {
namespace {

Fd copy(const Fd& fd) {
  Fd dup(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!dup) throw_errno("duplicating a descriptor", errno);
  return dup;
}

}  // namespace

void Doorbell::add(std::uint64_t count) noexcept {
  // Can't fail: the counter never comes near 2^64.
  [[maybe_unused]] const auto n = ::write(eventfd_, &count, sizeof count);
}

Doorbell::Signals Doorbell::drain() noexcept {
  std::uint64_t count;
  if (::read(eventfd_, &count, sizeof count) != sizeof count) return {};
  return {static_cast<std::uint32_t>(count % kRelink), static_cast<std::uint32_t>(count / kRelink)};
}

PlugMemory PlugMemory::create() {
  PlugMemory m;
  m.memory.reset(memfd_create("rp-plug", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!m.memory) throw_errno("making shared memory", errno);
  if (ftruncate(m.memory.get(), static_cast<off_t>(PlugLayout::kSize)) != 0)
    throw_errno("sizing shared memory", errno);
  if (fcntl(m.memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw_errno("sealing shared memory", errno);
  m.kick = make_event();
  m.call = make_event();
  return m;
}

PlugMemory PlugMemory::duplicate() const {
  return {copy(memory), copy(kick), copy(call)};
}

}  // namespace rp::backend
