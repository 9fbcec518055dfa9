// SPDX-License-Identifier: BSD-3-Clause
// datagram_socket.cc - batches in and out, and the queue of what found no room.
#include "sockets/datagram_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Room in the kernel: three of the largest frames, or some 300 of 1,500 bytes. It doubles this.
constexpr int kSendBuffer = 256 << 10;
/// Errors of receiving that mean nothing by themselves but would go on for ever with a socket that
/// is broken.
constexpr unsigned kMostFailures = 16;
/// After as long without a look at the socket a frame is likely to come alone.
constexpr Instant kPause = 20us;
/// One after the other; but a loop that polls others may come here so rarely by itself.
constexpr unsigned kMostAlone = 4;
/// Of those that wait for room, how many may go in one turn: other ports have theirs.
constexpr std::size_t kDrainFrames = 2 * DatagramBuffers::kFrames;
/// Frames sent in a turn that are a crowd.
constexpr std::size_t kCrowd = DatagramBuffers::kFrames / 2;
/// Full queues, a burst each, between two tries to drain one whose reader does not read.
constexpr unsigned kMostSkips = 63;

}  // namespace

DatagramSocket::DatagramSocket(Fd socket, int epoll, Watched watched,
                               std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits)
    : socket_(std::move(socket)),
      epoll_(epoll),
      frames_(watched == Watched::all ? EPOLLIN : 0u),
      buffers_(std::move(buffers)),
      queue_(limits.bytes, limits.frames),
      usual_length_(limits.frames) {
  int type = 0, room = 0;
  socklen_t size = sizeof type;
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    throw_errno("asking a socket for its type", errno);
  ends_ = type == SOCK_SEQPACKET;
  size = sizeof room;
  // As far as the host allows: the default holds a 64 KiB frame as well.
  if (getsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &room, &size) == 0 && room < 2 * kSendBuffer)
    setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  epoll_event e{};
  e.events = frames_;
  if (frames_ && epoll_ctl(epoll_, EPOLL_CTL_ADD, socket_.get(), &e) != 0)
    throw_errno("watching a socket", errno);
}

DatagramSocket::~DatagramSocket() {
  // Others may hold the same socket open, so closing ours would not do it.
  epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_.get(), nullptr);
}

void DatagramSocket::follow(const sockaddr* address, socklen_t size) noexcept {
  address_ = address;
  address_size_ = size;
}

bool DatagramSocket::find_again() noexcept {
  return address_ && connect(socket_.get(), address_, address_size_) == 0;
}

/// Where only room is watched for, no longer than that: each frame pays for every epoll descriptor
/// that its socket is in.
void DatagramSocket::watch_room(bool on) noexcept {
  epoll_event e{};
  e.events = frames_ | (on ? EPOLLOUT : 0u);
  const int change = frames_ ? EPOLL_CTL_MOD : on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
  waiting_ = epoll_ctl(epoll_, change, socket_.get(), &e) == 0 && on;
}

void DatagramSocket::receive(sw::Burst& burst, Instant now) noexcept {
  more_ = crowd_ = false;
  if (!queue_.empty()) drain();
  if (closed_) return;
  assert(!buffers_->lent);
  const bool alone = now - last_ > kPause && !full_ && alone_ < kMostAlone;
  last_ = now;
  alone_ = alone ? alone_ + 1 : 0;
  if (alone)
    receive_one(burst);
  else
    receive_burst(burst);
}

void DatagramSocket::receive_one(sw::Burst& burst) noexcept {
  const auto room = buffers_->room(0);
  const ssize_t n = recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (n < 0) {
    receive_failed(errno);
    return;
  }
  const auto len = static_cast<std::size_t>(n);
  take(burst, room.first(std::min(len, room.size())), len <= room.size());
}

void DatagramSocket::receive_burst(sw::Burst& burst) noexcept {
  const auto in = buffers_->in();
  const int n = recvmmsg(socket_.get(), in.data(), in.size(), MSG_DONTWAIT, nullptr);
  full_ = n == static_cast<int>(in.size());
  if (n < 0) {
    receive_failed(errno);
    return;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(n) && !closed_; ++i)
    take(burst, buffers_->received(i), !(in[i].msg_hdr.msg_flags & MSG_TRUNC));
}

void DatagramSocket::take(sw::Burst& burst, std::span<const std::uint8_t> frame,
                          bool whole) noexcept {
  failures_ = 0;
  if (!whole) {
    ++truncated_;
  } else if (frame.empty() && ends_) {
    closed_ = true;
  } else {
    buffers_->lent = true;
    burst.add(frame);
  }
}

void DatagramSocket::receive_failed(int error) noexcept {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    failures_ = 0;
    return;
  }
  if (error == ECONNREFUSED) {  // the answer to an earlier frame, which asking has cleared
    refused_ = true;
    return;
  }
  if (++failures_ >= kMostFailures || (ends_ && error != EINTR)) closed_ = true;
}

void DatagramSocket::release() noexcept {
  buffers_->lent = false;
}

int DatagramSocket::write(std::size_t messages) noexcept {
  constexpr int kFlags = MSG_DONTWAIT | MSG_NOSIGNAL;
  mmsghdr* out = buffers_->out();
  const msghdr& m = out->msg_hdr;
  if (messages > 1) return sendmmsg(socket_.get(), out, static_cast<unsigned>(messages), kFlags);
  const ssize_t n = m.msg_iovlen == 1
                        ? ::send(socket_.get(), m.msg_iov->iov_base, m.msg_iov->iov_len, kFlags)
                        : sendmsg(socket_.get(), &m, kFlags);
  return n < 0 ? -1 : 1;
}

DatagramSocket::Failure DatagramSocket::failure_of(int error) noexcept {
  switch (error) {
    case EAGAIN:
    case EINTR:
      return Failure::full;
    case EMSGSIZE:
    case ENOBUFS:
    case ENOMEM:
    case EFAULT:    // the guest whose frame it is cut its memory short
    case ENETDOWN:  // these pass
    case ENETUNREACH:
    case EHOSTUNREACH:
      return Failure::frame;
    default:  // nobody is there
      return Failure::all;
  }
}

/// Hands so many messages to the kernel; returns how many it took, and why not the next.
std::size_t DatagramSocket::write(std::size_t messages, Failure& why) noexcept {
  why = Failure::none;
  int n = write(messages);
  if (n < 0 && failure_of(errno) == Failure::all && find_again()) n = write(messages);
  if (n >= 0) {
    // Whatever stopped it, EPOLLOUT says when to look again: at once, unless there is no room.
    if (static_cast<std::size_t>(n) < messages) why = Failure::full;
    return static_cast<std::size_t>(n);
  }
  why = failure_of(errno);
  if (why == Failure::all) refused_ = true;
  return 0;
}

/// Returns how many frames are done with: sent, or lost for good.
std::size_t DatagramSocket::transmit(std::span<const sw::Frame* const> frames) noexcept {
  std::size_t done = 0;
  while (done < frames.size()) {
    Failure why;
    done += write(buffers_->fill(frames.subspan(done)), why);
    if (why == Failure::full) break;
    const std::size_t lost = why == Failure::frame ? 1
                             : why == Failure::all ? frames.size() - done
                                                   : 0;
    unsent_ += lost;
    done += lost;
  }
  return done;
}

std::size_t DatagramSocket::send(std::span<const sw::Frame* const> frames) noexcept {
  std::size_t done = queue_.empty() ? transmit(frames) : 0;
  bool tried = false;
  while (done < frames.size()) {
    if (std::uint8_t* to = queue_.add(frames[done]->len)) {
      frames[done++]->copy_to(to);
      ++queued_;
    } else if (tried || !try_to_drain()) {
      break;
    } else {
      tried = true;
      if (queue_.empty()) done += transmit(frames.subspan(done));
    }
  }
  if (!queue_.empty() && !waiting_) watch_room(true);
  sent_ += done;
  return frames.size() - done;
}

bool DatagramSocket::flush() noexcept {
  crowd_ = std::exchange(sent_, 0) >= kCrowd;
  return crowd_ || (!queue_.empty() && !waiting_);
}

void DatagramSocket::set_queue(std::size_t frames) {
  unsent_ += queue_.resize(frames ? frames : usual_length_);
}

/// For a queue that is full. False: nothing went.
bool DatagramSocket::try_to_drain() noexcept {
  if (skips_ > 0) {
    --skips_;
    return false;
  }
  const std::size_t before = queue_.size();
  drain();
  const bool went = queue_.size() < before;
  skip_next_ = went ? 0 : std::min(2 * skip_next_ + 1, kMostSkips);
  skips_ = skip_next_;
  return went;
}

void DatagramSocket::drain() noexcept {
  for (std::size_t gone = 0; !queue_.empty();) {
    more_ = gone >= kDrainFrames;
    if (more_) return;
    const std::size_t n = std::min(queue_.size(), DatagramBuffers::kFrames);
    for (std::size_t i = 0; i < n; ++i) buffers_->put(i, queue_.at(i));
    Failure why;
    const std::size_t went = write(n, why);
    queue_.pop(went);
    if (why == Failure::full) return;
    const std::size_t lost = why == Failure::frame ? 1 : why == Failure::all ? queue_.size() : 0;
    unsent_ += lost;
    queue_.pop(lost);
    gone += went + lost;
  }
  if (waiting_) watch_room(false);
}

bool DatagramSocket::arm() noexcept {
  queue_.trim();
  // The kernel tells of no room before most of what it holds was read, though there may be some.
  if (!queue_.empty() && !waiting_) watch_room(true);
  return (!full_ && !more_ && !crowd_ && (queue_.empty() || waiting_)) || closed_;
}

void DatagramSocket::report(const CounterSink& sink) const {
  sink("socket.queued", queued_);
  sink("socket.waiting", queue_.size());
  sink("drop.truncated", truncated_);
  sink("drop.unsent", unsent_);
}

}  // namespace rp::sockets
