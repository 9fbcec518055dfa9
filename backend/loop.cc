// SPDX-License-Identifier: BSD-3-Clause
// loop.cc - the thread, its epoll and its command queue.
#include "backend/loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"
#include "base/signal_guard.h"

namespace rp::backend {
namespace {

/// epoll's tag for the command queue; ports are tagged by id.
constexpr std::uint64_t kWakeupTag = ~std::uint64_t{0};
/// libslirp resolves names and formats text on it; nothing of ours recurses.
constexpr std::size_t kStack = std::size_t{512} << 10;
/// Time between two looks at what else woke up: commands, and ports that sleep. A look is a system
/// call, which may take as long as ten frames; a sleeper waits longer for its core.
constexpr Instant kLookAfter = 20us;
/// The same in turns without work while sleepers come and go, each of which may be somebody's whole
/// round trip.
constexpr Instant kLookAfterIdle = 5us, kSleepersCome = 1ms;
/// Turns in one dispatch(): the host gets its loop back even under a flood.
constexpr int kDispatchBudget = 64;
/// Of these without work: some of what a port has to do is paced by turns.
constexpr int kDispatchIdle = 16;
/// Frames of a port's turn that are a flood: more are there.
constexpr std::size_t kFlood = sw::Burst::kFrames;

void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Instant Loop::now() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

Loop::Loop(const Options& options) : options_(options), switch_(options.macs) {
  epoll_ = make_epoll();
  wakeup_ = make_event();
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.u64 = kWakeupTag;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wakeup_.get(), &e) != 0)
    throw_errno("watching an eventfd", errno);
  switch_.on_hold([this](sw::PortId held, sw::PortId older) { tell_of_hold(held, older); });
  if (!host_driven())
    thread_.start<&Loop::run>(this, "rp-switch", kStack, "starting the switch's thread");
}

Loop::~Loop() {
  if (thread_.runs()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake();
    thread_.join();
  }
}

void Loop::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(wakeup_.get(), &one, sizeof one);
}

void Loop::call(const std::function<void(sw::Switch&)>& fn) {
  if (host_driven()) {
    fn(switch_);
    return;
  }
  Command command{&fn, nullptr, false};
  std::unique_lock lock(mutex_);
  commands_.push_back(&command);
  wake();
  done_.wait(lock, [&] { return command.done; });
  if (command.thrown) std::rethrow_exception(command.thrown);
}

void Loop::run_commands() noexcept {
  std::vector<Command*> ready;
  {
    const std::lock_guard lock(mutex_);
    ready.swap(commands_);
  }
  for (Command* c : ready) {
    try {
      (*c->fn)(switch_);
    } catch (...) {
      c->thrown = std::current_exception();
    }
  }
  if (ready.empty()) return;
  const std::lock_guard lock(mutex_);
  for (Command* c : ready) c->done = true;
  done_.notify_all();
}

sw::PortId Loop::add(std::unique_ptr<sw::Port> port, std::string name,
                     const sw::PortPolicy& initial) {
  sw::PortId id = sw::kNoPort;
  call([&](sw::Switch&) { id = admit(std::move(port), std::move(name), initial); });
  return id;
}

sw::PortId Loop::admit(std::unique_ptr<sw::Port> port, std::string name,
                       const sw::PortPolicy& initial) {
  sw::Port& p = *port;
  const sw::PortId id = switch_.add(std::move(port), std::move(name), initial);
  try {
    active_.reserve(switch_.port_count() + active_.size());
    watch(id, p);
  } catch (...) {
    unwatch(p);
    switch_.remove(id);
    throw;
  }
  activate(id, now());
  // So that the first turn happens without anything else waking the loop.
  wake();
  return id;
}

bool Loop::listen_to(int fd, sw::PortId id, const sw::Port& port) noexcept {
  epoll_event e{};
  // Edge-triggered: a doorbell that rang once needs no read, and an active port costs no wake-ups.
  // What sleeps between its turns need not look whether something is left.
  e.events = port.sleeps() ? EPOLLIN : EPOLLIN | EPOLLET;
  e.data.u64 = id;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0;
}

void Loop::watch(sw::PortId id, const sw::Port& port) {
  for (const int fd : {port.poll_fd(), port.side_fd()}) {
    if (fd >= 0 && !listen_to(fd, id, port)) throw_errno("watching a port", errno);
  }
}

void Loop::unwatch(const sw::Port& port) noexcept {
  for (const int fd : {port.poll_fd(), port.side_fd()}) {
    if (fd >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
}

bool Loop::remove(sw::PortId id) {
  bool found = false;
  call([&](sw::Switch&) { found = evict(id); });
  return found;
}

bool Loop::evict(sw::PortId id) noexcept {
  const auto port = switch_.remove(id);
  if (!port) return false;
  unwatch(*port);
  if (std::erase(visitors_, id) != 0) count_visitors();
  // active_ keeps it until the end of the turn, which may be under way.
  return true;
}

void Loop::count_visitors() {
  if (options_.visitors) options_.visitors(visitors_.size());
}

void Loop::tell_of_hold(sw::PortId held, sw::PortId older) noexcept {
  options_.log.warning("port ", switch_.number(held), " (", switch_.name(held), ") leads to port ",
                       switch_.number(older), " (", switch_.name(older),
                       ") by another way, too: it is held back for as long as it does");
}

/// What a port without frames may want besides: to let somebody in, or to go.
void Loop::attend(sw::PortId id) noexcept {
  sw::Port* door = switch_.port(id);
  if (!door) return;
  if (door->gone()) {
    evict(id);
    return;
  }
  std::string name;
  while (auto port = door->accept(name)) {
    try {
      const sw::PortPolicy policy = *switch_.policy(id);
      visitors_.reserve(visitors_.size() + 1);
      visitors_.push_back(admit(std::move(port), std::move(name), policy));
      switch_.give_way(visitors_.back());
      count_visitors();
    } catch (const std::exception&) {
      // The port is destroyed, its peer sees the connection close and may come again.
    }
  }
}

/// Null: the port is no more.
Loop::Active* Loop::activate(sw::PortId id, Instant now) noexcept {
  sw::Port* port = switch_.port(id);
  if (!port) return nullptr;
  const auto known = std::ranges::find(active_, id, &Active::id);
  if (known != active_.end()) {
    known->last_work = now;
    port->told();
    return &*known;
  }
  port->disarm();
  roused_ = now;
  active_.push_back({id, now});  // reserved by add()
  return &active_.back();
}

/// While its frames come or go in crowds: their sender and their reader pay for each that touches a
/// watched socket, and the loop comes back to an active port anyhow.
void Loop::ignore(Active& active) noexcept {
  const sw::Port* port = switch_.port(active.id);
  if (active.ignored || !port || !port->sleeps() || port->poll_fd() < 0) return;
  active.ignored = epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, port->poll_fd(), nullptr) == 0;
}

/// False: it could not be, so it must stay active.
bool Loop::heed(Active& active, const sw::Port& port) noexcept {
  if (active.ignored) active.ignored = !listen_to(port.poll_fd(), active.id, port);
  return !active.ignored;
}

/// Ends a turn of an active port. True: it sleeps now, or is no more.
bool Loop::rests(Active& active, Instant now) noexcept {
  sw::Port* port = switch_.port(active.id);
  if (!port) return true;
  return (port->sleeps() || now - active.last_work >= options_.poll) && port->arm(now) &&
         heed(active, *port);
}

bool Loop::turn() noexcept {
  const Instant t = turned_ = now();
  bool worked = false;
  for (std::size_t i = 0; i < active_.size(); ++i) {
    const std::size_t frames = switch_.turn(active_[i].id, t);
    if (frames == 0) {
      attend(active_[i].id);
      continue;
    }
    active_[i].last_work = t;
    worked = true;
    if (frames >= kFlood) ignore(active_[i]);
  }
  switch_.flush(t, [&](sw::PortId id) {
    if (Active* active = activate(id, t)) ignore(*active);
    worked = true;
  });
  std::size_t kept = 0;
  for (Active& a : active_) {
    if (!rests(a, t)) active_[kept++] = a;
  }
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(kept), active_.end());
  return worked;
}

void Loop::wait(int timeout_ms) noexcept {
  std::array<epoll_event, 64> events;
  const int n = epoll_wait(epoll_.get(), events.data(), events.size(), timeout_ms);
  const Instant t = looked_ = now();
  for (int i = 0; i < n; ++i) {
    const std::uint64_t tag = events[static_cast<std::size_t>(i)].data.u64;
    if (tag != kWakeupTag) {
      activate(static_cast<sw::PortId>(tag), t);
      continue;
    }
    std::uint64_t count;
    [[maybe_unused]] const auto r = ::read(wakeup_.get(), &count, sizeof count);
    run_commands();
  }
}

void Loop::run() noexcept {
  for (bool worked = false;;) {
    const bool soon = !worked && turned_ - roused_ < kSleepersCome;
    if (active_.empty() || turned_ - looked_ >= (soon ? kLookAfterIdle : kLookAfter)) {
      wait(active_.empty() ? -1 : 0);
      const std::lock_guard lock(mutex_);
      if (stop_) break;
    }
    worked = turn();
    if (!worked) cpu_relax();
  }
  // Ports die where they lived.
  while (switch_.port_count() > 0) switch_.remove(switch_.oldest_port());
}

void Loop::dispatch() noexcept {
  const SignalsBlocked guard;
  wait(0);
  for (int n = 0, idle = 0; n < kDispatchBudget && idle < kDispatchIdle && !active_.empty(); ++n)
    idle = turn() ? 0 : idle + 1;
  // The descriptor must not go quiet while ports are still being polled.
  if (!active_.empty()) wake();
}

}  // namespace rp::backend
