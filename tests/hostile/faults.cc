// SPDX-License-Identifier: BSD-3-Clause
// faults.cc - the calls, each with the one of libc behind it.
#include "tests/hostile/faults.h"

#include <dlfcn.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>

namespace rp::test {
namespace {

thread_local unsigned to_fail = 0, calls = 0, spared = 0;
thread_local unsigned percent_of_calls = 0, were_disturbed = 0;
thread_local std::minstd_rand dice;
thread_local int link_refusal = 0;
thread_local nlmsgerr refused_link;      ///< the answer that is due on refused_at
thread_local int refused_at = -1;        ///< a descriptor; -1: none is due
std::atomic<unsigned> allocations_left;  ///< until one fails; 0: none will
std::atomic<bool> allocation_refused;
std::atomic<std::int64_t> monotonic_shift, realtime_shift;

template <typename F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

bool fails(int why) {
  if (to_fail == 0 || ++calls != to_fail) return false;
  errno = why;
  return true;
}

bool disturbs() {
  if (percent_of_calls == 0 || dice() % 100 >= percent_of_calls) return false;
  ++were_disturbed;
  return true;
}

void* allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) noexcept {
  unsigned left = spared == 0 ? allocations_left.load() : 0;
  while (left != 0 && !allocations_left.compare_exchange_weak(left, left - 1)) {
  }
  if (left == 1) {
    allocation_refused = true;
    return nullptr;
  }
  return std::aligned_alloc(alignment,
                            (std::max<std::size_t>(size, 1) + alignment - 1) & ~(alignment - 1));
}

template <typename... A>
void* allocate_or_throw(A... a) {
  if (void* p = allocate(a...)) return p;
  throw std::bad_alloc();
}

/// The message asks for a device, which is refused: the answer to receive is ready.
bool refuses(int fd, const void* message, size_t size) {
  nlmsghdr h;
  if (link_refusal == 0 || size < sizeof h) return false;
  std::memcpy(&h, message, sizeof h);
  if (h.nlmsg_type != RTM_NEWLINK || !(h.nlmsg_flags & NLM_F_CREATE)) return false;
  refused_link = {-link_refusal, h};
  refused_at = fd;
  return true;
}

ssize_t refusal(void* to, size_t size) {
  refused_at = -1;
  const auto& m = refused_link.msg;
  const nlmsghdr h{NLMSG_LENGTH(sizeof refused_link), NLMSG_ERROR, NLM_F_CAPPED, m.nlmsg_seq,
                   m.nlmsg_pid};
  if (size < h.nlmsg_len) std::abort();
  std::memcpy(to, &h, sizeof h);
  std::memcpy(static_cast<char*>(to) + NLMSG_HDRLEN, &refused_link, sizeof refused_link);
  return h.nlmsg_len;
}

/// Why a call did nothing.
int whim(bool sends) {
  static constexpr int kWhims[] = {EINTR, EAGAIN, ENOBUFS};
  return kWhims[dice() % (sends ? 3 : 2)];
}

}  // namespace

void fail_call(unsigned n) {
  to_fail = n;
  calls = 0;
}
bool failed() {
  const bool was = to_fail != 0 && calls >= to_fail;
  to_fail = 0;
  return was;
}
void fail_allocation(unsigned n) {
  allocation_refused = false;
  allocations_left = n;
}
bool allocation_failed() {
  allocations_left = 0;
  return allocation_refused.exchange(false);
}
Spared::Spared() noexcept {
  ++spared;
}
Spared::~Spared() {
  --spared;
}
void refuse_links(int err) {
  link_refusal = err;
  refused_at = -1;
}
void disturb(unsigned percent, std::uint32_t seed) {
  percent_of_calls = percent;
  were_disturbed = 0;
  dice.seed(seed);
}
unsigned disturbed() {
  percent_of_calls = 0;
  return were_disturbed;
}
void shift_clocks(std::int64_t monotonic_s, std::int64_t realtime_s) {
  monotonic_shift = monotonic_s;
  realtime_shift = realtime_s;
}

}  // namespace rp::test

using namespace rp::test;

// Arrays and nothrow forms of the standard library come to these.
void* operator new(std::size_t size) {
  return allocate_or_throw(size);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::align_val_t) noexcept {
  std::free(p);
}
void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

#define RP_NEXT(name) static const auto real = next(&::name, #name)

extern "C" {

int eventfd(unsigned int count, int flags) {
  RP_NEXT(eventfd);
  return fails(EMFILE) ? -1 : real(count, flags);
}
int epoll_create1(int flags) {
  RP_NEXT(epoll_create1);
  return fails(EMFILE) ? -1 : real(flags);
}
int epoll_ctl(int epfd, int op, int fd, epoll_event* event) {
  RP_NEXT(epoll_ctl);
  return op != EPOLL_CTL_DEL && fails(ENOSPC) ? -1 : real(epfd, op, fd, event);
}
int timerfd_create(clockid_t clock, int flags) {
  RP_NEXT(timerfd_create);
  return fails(EMFILE) ? -1 : real(clock, flags);
}
int memfd_create(const char* name, unsigned flags) {
  RP_NEXT(memfd_create);
  return fails(EMFILE) ? -1 : real(name, flags);
}
int socket(int domain, int type, int protocol) {
  RP_NEXT(socket);
  return fails(ENFILE) ? -1 : real(domain, type, protocol);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) {
  RP_NEXT(pthread_create);
  return fails(EAGAIN) ? EAGAIN : real(thread, attributes, run, argument);
}
void* mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {
  RP_NEXT(mmap);
  // Those without a file are the allocator's.
  return fd >= 0 && fails(ENOMEM) ? MAP_FAILED : real(at, size, protection, flags, fd, offset);
}

ssize_t recv(int fd, void* to, size_t size, int flags) {
  RP_NEXT(recv);
  if (!disturbs()) return real(fd, to, size, flags);
  if (!(flags & MSG_TRUNC) && dice() % 2) return real(fd, to, std::min<size_t>(size, 1), flags);
  errno = whim(false);
  return -1;
}
ssize_t recvfrom(int fd, void* to, size_t size, int flags, sockaddr* from, socklen_t* length) {
  RP_NEXT(recvfrom);
  if (refused_at != fd) return real(fd, to, size, flags, from, length);
  const sockaddr_nl kernel{AF_NETLINK, 0, 0, 0};
  if (from && length && *length >= sizeof kernel) std::memcpy(from, &kernel, sizeof kernel);
  return refusal(to, size);
}
ssize_t send(int fd, const void* from, size_t size, int flags) {
  RP_NEXT(send);
  if (refuses(fd, from, size)) return static_cast<ssize_t>(size);
  if (!disturbs()) return real(fd, from, size, flags);
  errno = whim(true);
  return -1;
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  RP_NEXT(sendmsg);
  if (!disturbs()) return real(fd, message, flags);
  if (dice() % 2) {
    // A part, of what may be sent in parts.
    msghdr part = *message;
    part.msg_iovlen = std::min<size_t>(part.msg_iovlen, 1);
    int type = 0;
    socklen_t length = sizeof type;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    if (type == SOCK_STREAM) return real(fd, &part, flags);
  }
  errno = whim(true);
  return -1;
}
int recvmmsg(int fd, mmsghdr* messages, unsigned n, int flags, timespec* timeout) {
  RP_NEXT(recvmmsg);
  if (!disturbs()) return real(fd, messages, n, flags, timeout);
  if (dice() % 2) return real(fd, messages, 1, flags, timeout);
  errno = whim(false);
  return -1;
}
int sendmmsg(int fd, mmsghdr* messages, unsigned n, int flags) {
  RP_NEXT(sendmmsg);
  if (!disturbs()) return real(fd, messages, n, flags);
  if (dice() % 2) return real(fd, messages, 1, flags);
  errno = whim(true);
  return -1;
}

int clock_gettime(clockid_t clock, timespec* t) noexcept {
  RP_NEXT(clock_gettime);
  const int result = real(clock, t);
  if (clock == CLOCK_MONOTONIC) t->tv_sec += monotonic_shift;
  if (clock == CLOCK_REALTIME) t->tv_sec += realtime_shift;
  return result;
}

}  // extern "C"
