// SPDX-License-Identifier: BSD-3-Clause
// sandbox.cc - enters layer by layer.
#include "tools/sandbox/sandbox.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/sandbox/capabilities.h"
#include "tools/sandbox/every_thread.h"
#include "tools/sandbox/seccomp.h"

namespace rp::tools {
namespace {

#ifdef RP_INSTRUMENTED
constexpr bool kInstrumented = true;
#else
constexpr bool kInstrumented = false;
#endif

/// What each thread does for itself.
struct Own {
  std::uint64_t capabilities;
  int ruleset;
};

int confine_thread(void* opaque) {
  const auto& own = *static_cast<const Own*>(opaque);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  if (own.ruleset >= 0)
    if (const int error = landlock_enter(own.ruleset)) return error;
  return keep_capabilities(own.capabilities);
}

}  // namespace

std::string Confinement::text() const {
  std::string all;
  for (const auto& l : layers) all += (all.empty() ? "" : " ") + l;
  return all;
}

Confinement enter_sandbox(const Policy& p) {
  Confinement c;
  const auto lacks = [&](const std::string& what, int error) {
    c.missing.push_back("sandbox: " + what + ": " + std::strerror(error));
  };
#ifdef RP_TSAN
  return c;  // ThreadSanitizer keeps signals from threads for a time of its own
#endif
  Own own{p.capabilities, -1};
  const int version = kInstrumented || !p.code.empty() ? 0 : landlock_version();
  if (version > 0) {
    own.ruleset = landlock_ruleset(p.files);
    if (own.ruleset < 0) lacks("no Landlock, files are open as before", errno);
  } else if (!kInstrumented && p.code.empty()) {
    lacks("this kernel has no Landlock, files are open as before", ENOSYS);
  }
  if (!kInstrumented && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) lacks("core dumps", errno);
  if (const int error = on_every_thread(confine_thread, &own)) {
    lacks("a thread keeps its rights", error);
  } else {
    c.layers = {"no-new-privs", "capabilities"};
    if (own.ruleset >= 0) c.layers.push_back("landlock-" + std::to_string(version));
  }
  if (own.ruleset >= 0) close(own.ruleset);
  if (kInstrumented) return c;
  if (const int error = enter_seccomp(p))
    lacks("no filter of system calls", error);
  else
    c.layers.emplace_back(p.code.empty() ? "seccomp" : "seccomp-deny-list");
  return c;
}

}  // namespace rp::tools
