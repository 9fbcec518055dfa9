// SPDX-License-Identifier: BSD-3-Clause
// stream_socket.cc - lengths and frames, whole and in pieces.
#include "sockets/stream_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/wire.h"

namespace rp::sockets {

StreamSocket::StreamSocket(int epoll, const StreamLimits& l)
    : epoll_(epoll),
      framing_(l.framing),
      header_(l.framing == Framing::qemu ? sizeof(Be32) : sizeof(Be16)),
      limit_(l.buffer),
      out_size_(l.buffer + sizeof(Be32) + sw::kMaxFrame),
      // Not initialized: the kernel gives no page before it is used.
      in_(new std::uint8_t[kIn]),
      out_(new std::uint8_t[out_size_]) {}

void StreamSocket::watch(bool room, int operation) noexcept {
  epoll_event e{};
  e.events = EPOLLIN | (room ? EPOLLOUT : 0u);
  e.data.fd = socket_.get();
  if (epoll_ctl(epoll_, operation, socket_.get(), &e) != 0) end();
  waiting_ = room;
}

bool StreamSocket::open(Fd socket) noexcept {
  close();
  socket_ = std::move(socket);
  ended_ = deaf_ = false;
  bad_length_ = 0;
  watch(false, EPOLL_CTL_ADD);
  if (!ended_) return true;
  close();
  return false;
}

void StreamSocket::close() noexcept {
  // By hand: the descriptor may have been inherited, so that closing ours would not end the watch.
  if (socket_) epoll_ctl(epoll_, EPOLL_CTL_DEL, socket_.get(), nullptr);
  socket_.reset();
  in_begin_ = in_end_ = out_begin_ = out_end_ = 0;
  waiting_ = false;
}

void StreamSocket::end() noexcept {
  if (!ended_ && drained() && in_end_ > in_begin_ && bad_length_ == 0) ++cut_short_;
  ended_ = true;
}

// In.

/// Of the frame that comes next, whose header is there.
std::uint32_t StreamSocket::next_length() const noexcept {
  const std::span<const std::uint8_t> in(in_.get() + in_begin_, in_end_ - in_begin_);
  return framing_ == Framing::qemu ? read_at<Be32>(in, 0)->get() : read_at<Be16>(in, 0)->get();
}

bool StreamSocket::drained() const noexcept {
  const std::size_t have = in_end_ - in_begin_;
  if (have < header_ || bad_length_ != 0) return true;
  const std::uint32_t len = next_length();
  return len <= sw::kMaxFrame && have - header_ < len;
}

void StreamSocket::lend(sw::Burst& burst) noexcept {
  while (!burst.full() && burst.free_parts() > 0 && in_end_ - in_begin_ >= header_) {
    const std::uint32_t len = next_length();
    if (len > sw::kMaxFrame) {
      bad_length_ = len;
      ++bad_lengths_;
      end();
      return;
    }
    if (in_end_ - in_begin_ - header_ < len) return;
    if (len == 0)
      ++empty_;
    else
      burst.add({in_.get() + in_begin_ + header_, len});
    in_begin_ += header_ + len;
  }
}

void StreamSocket::receive(sw::Burst& burst) noexcept {
  if (waiting_) drain();
  if (bad_length_ == 0) lend(burst);
  if (!burst.empty() || ended_ || !socket_) return;
  std::memmove(in_.get(), in_.get() + in_begin_, in_end_ - in_begin_);
  in_end_ -= in_begin_;
  in_begin_ = 0;
  ssize_t n;
  do n = recv(socket_.get(), in_.get() + in_end_, kIn - in_end_, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    in_end_ += static_cast<std::size_t>(n);
    lend(burst);
  } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
    end();
  }
}

// Out.

std::size_t StreamSocket::put_header(std::uint8_t* to, std::uint32_t len) const noexcept {
  const Be32 wide(len);
  const Be16 narrow(static_cast<std::uint16_t>(len));
  if (framing_ == Framing::qemu)
    std::memcpy(to, &wide, sizeof wide);
  else
    std::memcpy(to, &narrow, sizeof narrow);
  return header_;
}

/// Fills vectors_ with the first frames. Returns how many; 0: the first one has too many parts.
std::size_t StreamSocket::gather(std::span<const sw::Frame* const> frames,
                                 std::size_t& vectors) noexcept {
  vectors = 0;
  std::size_t n = 0;
  for (; n < frames.size() && n < headers_.size(); ++n) {
    const sw::Frame& f = *frames[n];
    if (!fits(f) || vectors + 2 + f.body.size() > vectors_.size()) break;
    vectors_[vectors++] = {headers_[n].data(), put_header(headers_[n].data(), f.len)};
    vectors_[vectors++] = {const_cast<std::uint8_t*>(f.head.data()), f.head_len};
    for (const sw::Part& p : f.body)
      vectors_[vectors++] = {const_cast<std::uint8_t*>(p.data), p.len};
  }
  return n;
}

/// Returns what went; 0: there is no room; less: nobody hears us any more, though what was said
/// before may still wait to be read.
ssize_t StreamSocket::write(std::size_t vectors) noexcept {
  msghdr m{};
  m.msg_iov = vectors_.data();
  m.msg_iovlen = vectors;
  for (;;) {
    const ssize_t n = sendmsg(socket_.get(), &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    // EFAULT: a guest cut its memory short. Its frame is kept then, which whoever handles SIGBUS
    // survives.
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM ||
        errno == EFAULT)
      return 0;
    deaf_ = true;
    return -1;
  }
}

/// Keeps a frame, from byte `from` of what goes before and with it, if the buffer then holds no
/// more than `most`.
bool StreamSocket::keep(const sw::Frame& f, std::size_t from, std::size_t most) noexcept {
  if (!fits(f)) {
    ++too_long_;
    return true;
  }
  const std::size_t size = header_ + f.len - from;
  if (out_end_ - out_begin_ + size > most) return false;
  if (out_end_ + size > out_size_) {
    std::memmove(out_.get(), out_.get() + out_begin_, out_end_ - out_begin_);
    out_end_ -= out_begin_;
    out_begin_ = 0;
  }
  const auto put = [&](const std::uint8_t* p, std::size_t n) {
    const std::size_t skipped = std::min(from, n);
    from -= skipped;
    std::memcpy(out_.get() + out_end_, p + skipped, n - skipped);
    out_end_ += n - skipped;
  };
  std::array<std::uint8_t, 4> header;
  put(header.data(), put_header(header.data(), f.len));
  put(f.head.data(), f.head_len);
  for (const sw::Part& p : f.body) put(p.data, p.len);
  ++queued_;
  return true;
}

std::size_t StreamSocket::send(std::span<const sw::Frame* const> frames) noexcept {
  if (!socket_ || ended_ || deaf_) return frames.size();
  while (!frames.empty() && out_begin_ == out_end_) {
    if (!fits(*frames.front())) {
      ++too_long_;
      frames = frames.subspan(1);
      continue;
    }
    std::size_t vectors = 0;
    const std::size_t n = gather(frames, vectors);
    const ssize_t sent = n > 0 ? write(vectors) : 0;
    if (sent < 0) return frames.size();
    auto left = static_cast<std::size_t>(sent);
    std::size_t whole = 0;
    for (; whole < n && left >= header_ + frames[whole]->len; ++whole)
      left -= header_ + frames[whole]->len;
    frames = frames.subspan(whole);
    if (whole == n && n > 0) continue;
    // The rest of one that was begun must go, whatever waits.
    if (!frames.empty() && (left > 0 || n == 0)) {
      keep(*frames.front(), left, out_size_);
      frames = frames.subspan(1);
    }
    break;
  }
  while (!frames.empty() && keep(*frames.front(), 0, limit_)) frames = frames.subspan(1);
  if (out_begin_ != out_end_ && !waiting_) watch(true, EPOLL_CTL_MOD);
  return frames.size();
}

void StreamSocket::drain() noexcept {
  while (out_begin_ != out_end_) {
    vectors_[0] = {out_.get() + out_begin_, out_end_ - out_begin_};
    const ssize_t n = write(1);
    if (n == 0) return;
    if (n < 0) break;
    out_begin_ += static_cast<std::size_t>(n);
  }
  out_begin_ = out_end_ = 0;
  watch(false, EPOLL_CTL_MOD);
}

void StreamSocket::report(const CounterSink& sink) const {
  sink("stream.queued", queued_);
  sink("stream.too-long", too_long_);
  sink("stream.empty-frames", empty_);
  sink("stream.bad-lengths", bad_lengths_);
  sink("stream.cut-short", cut_short_);
}

}  // namespace rp::sockets
