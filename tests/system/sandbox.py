# SPDX-License-Identifier: BSD-3-Clause
"""sandbox.py - moves this process into a network and mount namespace of its own.

All that the tests start then talks over a loopback device that nobody else sees, fixed ports are
free, port 53 can be served, and /etc/resolv.conf can name that server. The kernel ends it all with
the last process.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import tempfile

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result):
    if result != 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


def _unshare(flags):
    _check(_libc.unshare(ctypes.c_int(flags)))


def _mount(source, target, flags):
    arg = lambda text: text.encode() if text is not None else None
    _check(_libc.mount(arg(source), arg(target), None, ctypes.c_ulong(flags), None))


def _become_root_of_user_namespace():
    uid, gid = os.getuid(), os.getgid()
    _unshare(CLONE_NEWUSER)
    for name, text in (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = fcntl.ioctl(s, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack_from("H", request, 16)[0] | IFF_UP
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


def ip(*arguments):
    """Runs iproute2's ip, to change the private namespace further."""
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL)


def _resolv_conf(text):
    # The file is unlinked at once; the bind mount keeps it.
    with tempfile.NamedTemporaryFile("w", prefix="ringplug-resolv-") as f:
        os.fchmod(f.fileno(), 0o644)
        f.write(text)
        f.flush()
        _mount(f.name, os.path.realpath("/etc/resolv.conf"), MS_BIND)


def enter(resolv_conf="nameserver 127.0.0.1\n"):
    """Enters the namespaces; returns None, or why it could not (nothing has changed then).

    Call it before any thread is started: a user namespace wants a process with one thread.
    """
    try:
        if os.geteuid() != 0:
            _become_root_of_user_namespace()
        _unshare(CLONE_NEWNET | CLONE_NEWNS)
        _mount(None, "/", MS_REC | MS_PRIVATE)
        _loopback_up()
        _resolv_conf(resolv_conf)
    except OSError as err:
        return f"no private namespaces here: {err}"
    return None


def enter_with_tun(takes_root):
    """As enter(), for root's tests of devices and of namespaces in which resolv.conf is replaced."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no usable /dev/net/tun"
    if os.geteuid() != 0:
        return takes_root
    why = enter()
    if not why:
        # That is a file without a name, which nothing can be mounted on.
        subprocess.run(["umount", os.path.realpath("/etc/resolv.conf")], check=True)
    return why
