// SPDX-License-Identifier: BSD-3-Clause
// service.h - a switch that is a process: it runs until a signal ends it.
#pragma once

#include <glib.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ringplug.h"
#include "tools/sandbox/policy.h"

namespace rp::tools {

/// SIGTERM, SIGINT and SIGHUP as a descriptor instead of interruptions, in this thread and those
/// that it starts (those that were ignored stay ignored), for the rest of the process' life: they
/// must not cut its end short either. SIGBUS by a guest's memory costs that guest only. SIGPIPE is
/// held back, so that a reader who left is an error like others.
class Signals {
 public:
  /// Throws Complaint.
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  /// Readable once one came.
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

/// Takes the process' limit of descriptors to what it may be, as each guest needs a dozen. What
/// fails throws Complaint: kUsage when the text is wrong, kFailed when the machine refuses.
class Service {
 public:
  /// `name` starts the lines that are logged to stderr.
  Service(rp_switch_options options, std::string name);

  void add_uplinks(const std::vector<std::string>& locators);
  void open_doors(const std::vector<std::string>& locators);
  rp_switch* get() const noexcept { return switch_.get(); }

  /// What is left to the process by confine(): of the locators that were opened here, and what the
  /// caller adds.
  Policy& policy() noexcept { return policy_; }
  /// Enters the sandbox, once all is open; says on stderr which layers there are none of. Not
  /// `wanted`: does nothing.
  void confine(bool wanted);
  /// What is in force, a word a layer; "none".
  const std::string& sandbox() const noexcept { return sandbox_; }

  /// Has fn called, on GLib's default main loop, for each signal that would end run().
  void on_signal(std::function<void()> fn);
  /// Runs GLib's default main loop until a signal comes.
  void run();

 private:
  struct Free {
    void operator()(rp_switch* s) const noexcept { rp_switch_free(s); }
  };
  Signals signals_;  // before the switch, whose thread inherits what is blocked
  std::string name_;
  Policy policy_ = own_policy();
  std::string sandbox_ = "none";
  std::unique_ptr<rp_switch, Free> switch_;
  std::function<void()> on_signal_;
};

/// The option of each command that confine()s.
GOptionEntry no_sandbox_option(gboolean& off);

/// Throws what the library refused as Complaint.
void check(int code, const rp_error& error);

/// The options' array of strings, which is freed.
std::vector<std::string> taken(char** strings);

}  // namespace rp::tools
