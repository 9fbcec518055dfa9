// SPDX-License-Identifier: BSD-3-Clause
// vde_request.h - what a VDE client says when it connects: versions 1 and 3 of the request.
//
// In the client's byte order, packed (vde-2, src/vde_switch/datasock.c; libvdeplug 4):
//   version 3:  u32 magic, u32 3, u32 type, sockaddr_un (110 bytes), description
//   version 1:  u32 magic, u32 type, MAC (6 bytes), sockaddr_un (110 bytes), description
// The description has no end: what came with the request is all of it. The low byte of a type says
// what is asked for; the rest is the port's number, in version 3 only, as larger words in version
// 1's place are versions. The answer is the sockaddr_un of the switch's end.
#pragma once

#include <sys/un.h>

#include <cstdint>
#include <span>
#include <string>

namespace rp::sockets {

inline constexpr std::uint32_t kVdeMagic = 0xfeedface;
/// The longest that is looked at; the description of what is longer ends there.
inline constexpr std::size_t kVdeRequestMax = 256;

struct VdeRequest {
  unsigned version = 0;
  bool management = false;  ///< NEW_PORT0: a client that watches the switch, on port 0
  unsigned number = 0;      ///< of the port, up to 65535; 0: any
  sockaddr_un client{};     ///< where the client gets its frames, all 110 bytes as they came
  std::string description;  ///< printable ASCII
};

struct VdeParsed {
  enum { incomplete, complete, refused } state = incomplete;
  const char* why = "";  ///< when refused
  VdeRequest request;    ///< when complete
};

/// Of what came so far, at most kVdeRequestMax bytes. What can't become a request is refused as
/// soon as that is certain.
VdeParsed parse_vde_request(std::span<const std::uint8_t> bytes);

}  // namespace rp::sockets
