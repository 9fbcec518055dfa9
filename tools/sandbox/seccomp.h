// SPDX-License-Identifier: BSD-3-Clause
// seccomp.h - which system calls a process may still make.
//
// An allow-list of the policy's calls. Everything else returns ENOSYS, as on an older kernel: the C
// library asks for calls that are newer than any list (clone3, rseq, openat2) and then does
// without. Calls that no library tries in vain (execve, ptrace, mount and the like) return EPERM.
// Nothing is killed for a call, as one forgotten here must not end everybody's network; all
// refusals go to the audit log, as `type=1326`. Only another architecture's calls, which nobody
// makes by mistake, kill.
//
// Arguments are checked where a call could do more than we need: no memory becomes executable, no
// process is made (only threads), no socket of another family, no raw one but for pings, no signal
// but to this process and who is named.
//
// Where code of others may run (Policy::code) an allow-list would be a guess. Then all is allowed
// but what EPERM stands for, less the means to run programs.
#pragma once

#include "tools/sandbox/policy.h"

namespace rp::tools {

/// Confines all threads. Returns 0 or an errno; ENOSYS: this kernel has no filters
/// for all threads, or the architecture has 32 bits, whose calls the lists lack.
int enter_seccomp(const Policy& policy);

}  // namespace rp::tools
