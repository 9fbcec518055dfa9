// SPDX-License-Identifier: BSD-3-Clause
// every_thread.h - runs something on each thread of the process, as the C library does for
// setuid().
//
// Capabilities and Landlock are a thread's own in the kernel, and threads run by the time a process
// has opened what it serves. The library's block all signals but SIGBUS, which they must take when
// a guest cuts its memory short; so SIGBUS, sent with a value of ours, is what reaches every
// thread. Its handler calls the one that was there for any other SIGBUS, and goes when all is done.
// Threads are looked for until none is new: one that starts meanwhile has what its parent has.
#pragma once

namespace rp::tools {

/// Runs fn(opaque) once on each thread, this one last; async-signal-safe calls only. Returns 0 or
/// an errno: what fn returned first that was not 0, or ETIMEDOUT when a thread blocks the signal
/// for seconds. Once at a time.
int on_every_thread(int (*fn)(void* opaque), void* opaque);

}  // namespace rp::tools
