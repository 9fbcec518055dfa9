// SPDX-License-Identifier: BSD-3-Clause
// virtio_net.h - the kernel's virtio-net numbers, made includable from C++.
#pragma once
#pragma GCC system_header  // a keyword is redefined below

// One member of the uapi header is named by a C++ keyword.
#define class class_
#include <linux/virtio_net.h>
#undef class
