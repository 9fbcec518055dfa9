// SPDX-License-Identifier: BSD-3-Clause
// stream.cc - a stream of frames that comes and goes in any pieces, and ends anywhere.
//
// Invariant: however it is cut, what is lent are the frames that a naive reader finds, in order;
// what is heard are the frames that were taken, byte for byte; a length that no frame has ends the
// connection behind the last whole frame, with one sentence that names it.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <deque>
#include <memory>

#include "base/wire.h"
#include "fuzz/harness.h"
#include "sockets/stream_port.h"

namespace {

using namespace rp;
using fuzz::Bytes;
using fuzz::Input;
using sockets::Framing;

constexpr std::size_t kMostBytes = 1 << 20;  ///< each way, of one input

void append(Bytes& to, std::span<const std::uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

std::size_t any_size(Input& in) {
  switch (in.below(8)) {
    case 0:
      return in.below(64);
    case 1:
      return sw::kMaxFrame - in.below(10);
    case 2:
      return in.u16();
    case 3:
      return 1514;
    default:
      return in.byte() * 4u;
  }
}

class Session {
 public:
  explicit Session(Input& in) {
    const unsigned how = in.byte();
    framing_ = how & 1 ? Framing::vde : Framing::qemu;
    int fds[2];
    RP_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    Fd ours(fds[0]);
    ours_ = ours.get();
    peer_.reset(fds[1]);
    // The less room there is, the more often a frame is cut.
    const int room = how & 2 ? 1 : 60'000;
    RP_CHECK(setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
    house_->name = "stream:test";
    house_->log = Log(&Session::hear_sentence, this);
    house_->limits = {framing_, std::size_t{1} << (6 + in.below(12))};
    port_ = std::make_unique<sockets::StreamPort>(std::move(ours), "peer", house_);
  }

  void step(Input& in) {
    switch (in.below(8)) {
      case 0:
        say_frame(any_size(in));
        break;
      case 1:
        append(to_say_, in.take(in.byte()));
        break;
      case 2:
        say(in.flag() ? in.byte() : in.u16());
        break;
      case 3:
        say(to_say_.size());
        break;
      case 4:
        receive();
        break;
      case 5:
        send(in);
        break;
      case 6:
        hear(in.flag() ? in.byte() : in.u16());
        break;
      default:
        if (in.byte() == 0) peer_.reset();
    }
  }

  /// Lets all through that is under way, and compares.
  void finish() {
    for (int idle = 0, turns = 0; idle < 3 && turns < 4000; ++turns) {
      const auto before = said_.size() + lent_.size() + heard_.size();
      say(to_say_.size());
      receive();
      hear(kMostBytes);
      idle = said_.size() + lent_.size() + heard_.size() == before ? idle + 1 : 0;
    }
    check_lent();
    check_heard();
    RP_CHECK(sentences_.size() == (bad_length_ != 0));
    if (bad_length_ != 0) {
      RP_CHECK(sentences_[0].find("peer announced a frame of " + std::to_string(bad_length_) +
                                  " bytes") != std::string::npos);
    }
    RP_CHECK(port_->gone() == (bad_length_ != 0 || !peer_));
    port_.reset();
    RP_CHECK(house_->guests == 0);
  }

 private:
  static void hear_sentence(void* self, int, const char* sentence) {
    static_cast<Session*>(self)->sentences_.emplace_back(sentence);
  }

  std::size_t header() const { return framing_ == Framing::qemu ? sizeof(Be32) : sizeof(Be16); }
  void put_length(Bytes& to, std::size_t n) const {
    for (std::size_t i = header(); i > 0; --i)
      to.push_back(static_cast<std::uint8_t>(n >> (8 * (i - 1))));
  }
  /// Bytes that are the same nowhere near.
  Bytes pattern(std::size_t n) {
    Bytes b(n);
    for (auto& v : b) v = static_cast<std::uint8_t>(++counter_ * 167 >> 3);
    return b;
  }

  void say_frame(std::size_t n) {
    if (framing_ == Framing::vde) n = std::min<std::size_t>(n, UINT16_MAX);
    if (said_.size() + to_say_.size() + n > kMostBytes) return;
    put_length(to_say_, n);
    append(to_say_, pattern(n));
  }
  void say(std::size_t n) {
    n = std::min(n, to_say_.size());
    if (!peer_ || n == 0) return;
    const ssize_t went = ::send(peer_.get(), to_say_.data(), n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (went <= 0) return;
    const auto end = to_say_.begin() + went;
    said_.insert(said_.end(), to_say_.begin(), end);
    to_say_.erase(to_say_.begin(), end);
  }

  void receive() {
    burst_->clear();
    port_->receive(*burst_, Instant{});
    for (const sw::Frame& f : burst_->frames()) {
      RP_CHECK(f.len > 0 && f.len <= sw::kMaxFrame);
      Bytes b(f.len);
      f.copy_to(b.data());
      lent_.push_back(std::move(b));
    }
    port_->flush(Instant{});
    if (!port_->arm(Instant{}) || port_->gone()) return;
    // Asleep: what is there to be read has to wake it.
    int bytes = 0;
    pollfd p{port_->poll_fd(), POLLIN, 0};
    RP_CHECK(ioctl(ours_, FIONREAD, &bytes) == 0);
    if (bytes > 0) RP_CHECK(poll(&p, 1, 0) == 1);
  }

  void send(Input& in) {
    std::deque<Bytes> bytes;
    std::deque<std::vector<sw::Part>> parts;
    std::deque<sw::Frame> frames;
    std::vector<const sw::Frame*> list;
    for (std::size_t n = 1 + in.below(70); n > 0 && taken_.size() < kMostBytes; --n) {
      bytes.push_back(pattern(std::max<std::size_t>(any_size(in), 1)));
      sw::Part whole{};
      sw::make_frame(frames.emplace_back(), whole, bytes.back());
      auto& body = parts.emplace_back();
      const std::uint32_t step = in.flag() ? whole.len : 1u + in.byte();
      // A chain has at most as many parts as a ring has descriptors.
      while (whole.len > 0) {
        const std::uint32_t size = body.size() == 1023 ? whole.len : std::min(step, whole.len);
        body.push_back({whole.data, size});
        whole.data += size;
        whole.len -= size;
      }
      frames.back().body = body;
      list.push_back(&frames.back());
    }
    const std::size_t refused = port_->send(list, Instant{});
    RP_CHECK(refused <= list.size());
    for (std::size_t i = 0; i + refused < list.size(); ++i) {
      if (framing_ == Framing::vde && bytes[i].size() > UINT16_MAX) {
        ++too_long_;
        continue;
      }
      put_length(taken_, bytes[i].size());
      append(taken_, bytes[i]);
    }
  }
  void hear(std::size_t n) {
    if (!peer_) return;
    Bytes b(std::min<std::size_t>(n, 1 << 16));
    const ssize_t got = recv(peer_.get(), b.data(), b.size(), MSG_DONTWAIT);
    if (got > 0) append(heard_, std::span(b).first(static_cast<std::size_t>(got)));
  }

  void check_lent() {
    std::size_t at = 0, frames = 0, empty = 0;
    while (said_.size() - at >= header() && bad_length_ == 0) {
      std::uint32_t n = 0;
      for (std::size_t i = 0; i < header(); ++i) n = n << 8 | said_[at + i];
      if (n > sw::kMaxFrame) {
        bad_length_ = n;
        break;
      }
      if (said_.size() - at - header() < n) break;
      at += header();
      if (n == 0) {
        ++empty;
        continue;
      }
      RP_CHECK(frames < lent_.size() && lent_[frames].size() == n);
      RP_CHECK(std::equal(lent_[frames].begin(), lent_[frames].end(),
                          said_.begin() + static_cast<std::ptrdiff_t>(at)));
      ++frames;
      at += n;
    }
    RP_CHECK(frames == lent_.size());
    RP_CHECK(counter("stream.empty-frames") == empty);
    RP_CHECK(counter("stream.bad-lengths") == (bad_length_ != 0));
    if (!peer_ && bad_length_ == 0) RP_CHECK(counter("stream.cut-short") == (at < said_.size()));
  }
  void check_heard() {
    RP_CHECK(heard_.size() <= taken_.size());
    RP_CHECK(std::equal(heard_.begin(), heard_.end(), taken_.begin()));
    if (peer_ && bad_length_ == 0) RP_CHECK(heard_.size() == taken_.size());
    RP_CHECK(counter("stream.too-long") <= too_long_);
    if (peer_ && bad_length_ == 0) RP_CHECK(counter("stream.too-long") == too_long_);
  }
  std::uint64_t counter(std::string_view name) const {
    std::uint64_t value = 0;
    port_->report([&](std::string_view n, std::uint64_t v) { value += n == name ? v : 0; });
    return value;
  }

  Framing framing_{};
  Fd peer_;
  int ours_ = -1;  ///< the port's
  std::vector<std::string> sentences_;
  std::shared_ptr<sockets::StreamHouse> house_ = std::make_shared<sockets::StreamHouse>();
  std::unique_ptr<sockets::StreamPort> port_;
  std::unique_ptr<sw::Burst> burst_ = std::make_unique<sw::Burst>();
  Bytes to_say_, said_, taken_, heard_;
  std::vector<Bytes> lent_;
  std::uint64_t counter_ = 0, too_long_ = 0;
  std::uint32_t bad_length_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  Session session(in);
  for (int steps = 0; !in.empty() && steps < 400; ++steps) session.step(in);
  session.finish();
  return 0;
}
