// SPDX-License-Identifier: BSD-3-Clause
// guard_services.cc - the check in front of libslirp's own servers: DHCP, DHCPv6 and TFTP.
#include <fcntl.h>
#include <linux/openat2.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "slirp/guard_state.h"

namespace rp::slirp {
namespace {

// RFC 2131 and RFC 2132.
constexpr std::uint32_t kDhcpMagic = 0x63825363;
// RFC 8415 11.1: a DUID is a type of 2 bytes and up to 128 more.
constexpr std::size_t kMaxDuid = 130;
constexpr sw::Ip6Addr kDhcp6Servers{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0x02};
// RFC 1350 and RFC 2347.
constexpr std::uint16_t kReadRequest = 1, kData = 3, kAck = 4, kError = 5;
constexpr std::size_t kMaxName = 200, kMaxOptions = 8;
// IPv6, UDP and TFTP headers: what a block of data needs besides itself in libslirp's buffer.
constexpr unsigned kBlockHeaders = 52;

// The next NUL-terminated text of at most `most` bytes, taken off `rest`; data() null: there is
// none.
std::string_view take_text(ConstBytes& rest, std::size_t most) noexcept {
  const std::size_t limit = std::min(rest.size(), most + 1);
  const void* nul = limit ? std::memchr(rest.data(), 0, limit) : nullptr;
  if (!nul) return {};
  const auto* begin = reinterpret_cast<const char*>(rest.data());
  const auto len = static_cast<std::size_t>(static_cast<const char*>(nul) - begin);
  rest = rest.subspan(len + 1);
  return {begin, len};
}

bool same_word(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// At most nine digits: libslirp reads them into an int.
std::optional<std::uint32_t> decimal(std::string_view text) noexcept {
  if (text.empty() || text.size() > 9) return std::nullopt;
  std::uint32_t n = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    n = n * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return n;
}

// Printable, no backslash, no "..", and the name of a file rather than of a directory.
bool sound_name(std::string_view name) noexcept {
  const auto odd = [](char c) { return c < 0x20 || c > 0x7e || c == '\\'; };
  if (std::any_of(name.begin(), name.end(), odd)) return false;
  std::size_t start = 0;
  while (start <= name.size()) {
    const std::size_t end = std::min(name.find('/', start), name.size());
    if (name.substr(start, end - start) == "..") return false;
    start = end + 1;
  }
  return !name.empty() && name.back() != '/';
}

// libslirp opens by path, follows links, blocks on a FIFO and goes wrong on a directory; so the
// name must lead to a regular file below the root. A file that is not there it reports by itself.
bool harmless_file(int root, std::string_view name) noexcept {
  name.remove_prefix(std::min(name.find_first_not_of('/'), name.size()));
  char path[kMaxName + 1] = {};
  std::copy_n(name.data(), std::min(name.size(), kMaxName), path);
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long opened = syscall(SYS_openat2, root, path, &how, sizeof how);
  if (opened < 0) return errno == ENOENT;
  const int fd = static_cast<int>(opened);
  struct stat st;
  const bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  close(fd);
  return regular;
}

// The block size that libslirp will use; nothing when the options are not sound.
std::optional<std::uint16_t> read_tftp_options(ConstBytes rest) noexcept {
  std::uint16_t block = 512;
  bool block_seen = false, size_seen = false;
  for (std::size_t n = 0; !rest.empty(); ++n) {
    const std::string_view key = take_text(rest, kMaxName), value = take_text(rest, kMaxName);
    if (n == kMaxOptions || key.empty() || !value.data()) return std::nullopt;
    if (same_word(key, "blksize")) {  // RFC 2348
      const auto wish = decimal(value);
      if (block_seen || !wish || *wish < 8 || *wish > 65464) return std::nullopt;
      block_seen = true;
      block = static_cast<std::uint16_t>(std::min<std::uint32_t>(*wish, TftpSessions::kMaxBlock));
    } else if (same_word(key, "tsize")) {  // RFC 2349
      if (size_seen || !decimal(value)) return std::nullopt;
      size_seen = true;
    }
  }
  return block;
}

}  // namespace

Refusal Guard::State::dhcp4(const Packet& p, const Sender& s) noexcept {
  const ConstBytes bytes = p.l4.subspan(sizeof(sw::UdpHeader));
  const auto bootp = read_at<Bootp>(bytes, 0);
  if (!bootp || bootp->op != 1 || bootp->htype != 1 || bootp->hlen != 6 ||
      bootp->magic.get() != kDhcpMagic || bootp->mac() != s.mac)
    return Refusal::dhcp;
  auto options = read_dhcp_options(bytes.subspan(sizeof *bootp));
  if (!options) return Refusal::dhcp;
  const std::uint32_t client = bootp->ciaddr.get();
  if (client != 0 && (!usable4(client) || owners.foreign(mapped(client), s.port)))
    return Refusal::dhcp;
  switch (options->type) {
    case DhcpType::none:
    case DhcpType::discover:
    case DhcpType::request:
      if (options->type == DhcpType::request && options->wanted == 0) options->wanted = client;
      return pool.may_ask(s.mac, s.port, *options) ? Refusal::none : Refusal::dhcp;
    case DhcpType::release:
      if (client == 0 || !owners.admit(mapped(client), s.mac, s.port, s.now)) return Refusal::dhcp;
      return Refusal::none;
    case DhcpType::decline:
      return owners.foreign(mapped(options->wanted), s.port) ? Refusal::dhcp : Refusal::none;
    case DhcpType::inform:
      return Refusal::none;
    default:
      return Refusal::dhcp;
  }
}

// The rules are libslirp's own order of search: the wanted address, then one of the client's, then
// any free one. What is refused is a request for which it would find none, or that hoards.
bool DhcpPool::may_ask(const sw::Mac& mac, sw::PortId port, const DhcpOptions& ask) const noexcept {
  std::size_t used = 0, of_mac = 0, of_port = 0;
  bool wanted_given = false, wanted_mine = false;
  for (const Entry& e : given_) {
    if (e.address == 0) continue;
    ++used;
    of_mac += e.mac == mac;
    of_port += e.port == port;
    if (e.address != ask.wanted) continue;
    wanted_given = true;
    wanted_mine = e.mac == mac;
  }
  const bool wants_new = ask.wanted != 0 && !wanted_given;
  if (wanted_mine || (of_mac != 0 && !wants_new)) return true;
  if (ask.type == DhcpType::request && wanted_given) return true;  // libslirp says no by itself
  if (wants_new && of_mac >= 2) return false;
  if (ask.type == DhcpType::request && wants_new) return of_port < kPerPort;
  return of_mac != 0 || (used < kAddresses && of_port < kPerPort);
}

void DhcpPool::given(std::uint32_t address, const sw::Mac& mac, sw::PortId port) noexcept {
  Entry* free = nullptr;
  for (Entry& e : given_) {
    if (e.address == address) free = &e;
    if (e.address == 0 && !free) free = &e;
    if (e.address == address) break;
  }
  if (free) *free = {address, mac, port};
}

// RFC 8415 section 8 and 21.1; relays have a format of their own and no business here.
Refusal Guard::State::dhcp6(const Packet& p) const noexcept {
  if (p.dst != kDhcp6Servers) return Refusal::dhcp;
  ConstBytes o = p.l4.subspan(sizeof(sw::UdpHeader));
  if (o.size() < 4) return Refusal::dhcp;
  const std::uint8_t type = o[0];
  const bool client = type == 1 || (type >= 3 && type <= 6) || type == 8 || type == 9 || type == 11;
  bool id = false;
  if (!client) return Refusal::dhcp;
  for (o = o.subspan(4); !o.empty();) {
    const auto code = read_at<Be16>(o, 0), len = read_at<Be16>(o, 2);
    if (!len || len->get() > o.size() - 4) return Refusal::dhcp;
    if (code->get() == 1) {
      if (id || len->get() > kMaxDuid) return Refusal::dhcp;
      id = true;
    }
    o = o.subspan(4u + len->get());
  }
  return Refusal::none;
}

Refusal Guard::State::tftp(const Packet& p, const Sender& s) noexcept {
  const sw::Ip6Addr server = p.v6 ? config.gateway6 : mapped(config.gateway);
  const auto udp = read_at<sw::UdpHeader>(p.l4, 0);
  const auto op = read_at<Be16>(p.l4, sizeof *udp);
  if (config.tftp_root < 0 || p.dst != server || !op) return Refusal::tftp;
  const std::uint16_t client = udp->sport.get();
  switch (op->get()) {
    case kReadRequest:
      return tftp_read(p, s);
    case kAck:
      if (p.l4.size() < sizeof *udp + 4) return Refusal::tftp;
      return tftp_sessions.touch(p, client, s.now) ? Refusal::none : Refusal::tftp;
    case kError:
      if (!tftp_sessions.touch(p, client, s.now)) return Refusal::tftp;
      tftp_sessions.close(p.src, client);
      return Refusal::none;
    default:
      return Refusal::tftp;
  }
}

Refusal Guard::State::tftp_read(const Packet& p, const Sender& s) noexcept {
  ConstBytes rest = p.l4.subspan(sizeof(sw::UdpHeader) + 2);
  const std::string_view name = take_text(rest, kMaxName), mode = take_text(rest, kMaxName);
  if (!sound_name(name) || !same_word(mode, "octet")) return Refusal::tftp;
  const auto block = read_tftp_options(rest);
  if (!block || *block + kBlockHeaders > config.mtu) return Refusal::tftp;
  if (!harmless_file(config.tftp_root, name)) return Refusal::tftp;
  const auto client = read_at<Be16>(p.l4, 0)->get();
  return tftp_sessions.open(p, client, *block, s) ? Refusal::none : Refusal::tftp;
}

TftpSessions::Session* TftpSessions::find(const sw::Ip6Addr& client, std::uint16_t port) noexcept {
  for (Session& s : sessions_)
    if (s.live && s.client_port == port && s.client == client) return &s;
  return nullptr;
}

bool TftpSessions::open(const Packet& p, std::uint16_t client_port, std::uint16_t block,
                        const Sender& sender) noexcept {
  Session* slot = find(p.src, client_port);
  if (slot && sender.now - slot->seen <= kIdle) return false;
  std::size_t of_port = 0;
  for (Session& s : sessions_) {
    if (s.live && sender.now - s.seen > kIdle) s.live = false;
    of_port += s.live && s.port == sender.port;
    if (!s.live && !slot) slot = &s;
  }
  if (!slot || of_port >= kPerPort) return false;
  *slot = {true, sender.port, p.src, client_port, block, sender.now};
  return true;
}

bool TftpSessions::touch(const Packet& p, std::uint16_t client_port, Instant now) noexcept {
  Session* s = find(p.src, client_port);
  if (s) s->seen = now;
  return s != nullptr;
}

void TftpSessions::answered(const sw::Ip6Addr& client, std::uint16_t client_port, std::uint16_t op,
                            std::size_t data_len) noexcept {
  Session* s = find(client, client_port);
  if (s && (op == kError || (op == kData && data_len < s->block))) s->live = false;
}

void TftpSessions::close(const sw::Ip6Addr& client, std::uint16_t client_port) noexcept {
  if (Session* s = find(client, client_port)) s->live = false;
}

}  // namespace rp::slirp
