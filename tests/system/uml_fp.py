# SPDX-License-Identifier: BSD-3-Clause
"""uml_fp.py - runs User-mode Linux on a processor whose registers are more than it knows.

Usage: uml_fp.py COMMAND [ARGUMENTS]

Linux 6.1 as a program keeps 832 bytes of floating point registers for each of its own programs. The
host's ptrace gives it as many of a processor with AVX-512 or AMX, but takes back no less than all,
so that no program runs: "ptrace set fp regs failed". It falls back to the 512 bytes before AVX when
the host knows no other, and that is what a seccomp filter tells it here.
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
AUDIT_ARCH_X86_64 = 0xC000003E
SYS_PTRACE = 101
NT_X86_XSTATE = 0x202
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF
NUMBER, ARCH, THIRD = 0, 4, 32  # places in struct seccomp_data


def _filter():
    """PTRACE_GETREGSET and PTRACE_SETREGSET of NT_X86_XSTATE fail; all else passes."""
    code = ((LOAD, 0, 0, ARCH), (JUMP_EQUAL, 0, 5, AUDIT_ARCH_X86_64),
            (LOAD, 0, 0, NUMBER), (JUMP_EQUAL, 0, 3, SYS_PTRACE),
            (LOAD, 0, 0, THIRD), (JUMP_EQUAL, 0, 1, NT_X86_XSTATE),
            (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EINVAL),
            (RETURN, 0, 0, SECCOMP_RET_ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code), len(code)


def needed():
    """Whether this processor has more registers than Linux 6.1 as a program takes."""
    with open("/proc/cpuinfo") as f:
        flags = f.read().split()
    return "avx512f" in flags or "amx_tile" in flags


# glibc's own use of registers that are not kept then.
KERNEL_ARGUMENT = ("GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,"
                   "-FSRM")


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    code, count = _filter()
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", count, ctypes.addressof(buffer))
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                 (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*call) != 0:
            sys.exit(f"uml_fp: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
