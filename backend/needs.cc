// SPDX-License-Identifier: BSD-3-Clause
// needs.cc - polling, waking, mapping guests' memory.
#include "backend/needs.h"

namespace rp::backend {
namespace {

constexpr const char* kLoopCalls[] = {
    "epoll_wait", "epoll_pwait", "epoll_ctl", "epoll_create1", "eventfd2", "timerfd_create",
    "timerfd_settime", "poll", "ppoll", "read", "write", "readv", "writev", "pread64", "recvmsg",
    "recvmmsg", "recvfrom", "sendmsg", "sendmmsg", "sendto", "close", "fcntl", "dup",
    // A guest's eventfd that would block is signalled so: base/event_signal.
    "io_setup", "io_submit", "io_destroy", "io_getevents", "clock_gettime", "clock_nanosleep",
    "nanosleep", "futex", "getrandom", "fstat", "newfstatat"};
constexpr const char* kListenerCalls[] = {"accept4",    "accept",      "bind",        "connect",
                                          "socket",     "socketpair",  "listen",      "getsockopt",
                                          "setsockopt", "getsockname", "getpeername", "shutdown",
                                          "lstat",      "stat",        "unlink"};
constexpr const char* kRingCalls[] = {"memfd_create", "ftruncate", "readlink", "mmap", "munmap"};
}  // namespace

void tell_loop_needs(const NeedSink& sink) {
  tell_needs(sink, Need::call, kLoopCalls);
  tell_needs(sink, Need::call, kListenerCalls);
  tell_needs(sink, Need::call, kRingCalls);
}

void tell_vhost_user_needs(const vhost_user::PortOptions& o, const NeedSink& sink) {
  // The file of packed rings' places is open and mapped; it goes with the door.
  if (!o.path.empty()) sink(Need::remove, folder_of(o.path));
  if (o.connect) tell_dialing_needs(sink);
  if (!o.state.empty()) sink(Need::remove, folder_of(o.state));
}

}  // namespace rp::backend
