# SPDX-License-Identifier: BSD-3-Clause
"""netns.py - network namespaces as hosts: sockets and commands in them, and bulk transfers."""

import ctypes
import hashlib
import os
import socket
import subprocess
import threading
import time

import hosts
import qemu

CLONE_NEWNET = 0x40000000
MIB = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


class Here:
    """The namespace of this process."""

    pid = "self"

    def call(self, function):
        return function()

    def run(self, *command, check=True):
        return subprocess.run(command, check=check, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=120)


class Netns:
    """A namespace of its own, kept by a process that sleeps in it."""

    def __init__(self):
        self._keeper = subprocess.Popen(qemu.tied(["unshare", "-n", "sleep", "100000"]))
        self.pid = self._keeper.pid
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.pid}/ns/net") == own:
            if self._keeper.poll() is not None:
                raise qemu.QemuError("no namespace could be made")
            time.sleep(0.01)
        self._fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.run("ip", "link", "set", "lo", "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            qemu.stop(self._keeper)

    def call(self, function):
        """Runs the function on a thread that is in the namespace; sockets it makes stay there."""
        result = []

        def body():
            try:
                _setns(self._fd)
                result.append((function(), None))
            except BaseException as err:  # pylint: disable=broad-except
                result.append((None, err))
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        value, err = result[0]
        if err:
            raise err
        return value

    def run(self, *command, check=True):
        return Here().run("nsenter", "-t", str(self.pid), "-n", "--", *command, check=check)


def reaches(one, address, port=7):
    """True when a TCP connection from `one` to the address is answered, be it by a refusal."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def attempt():
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(1.5)
            try:
                s.connect((address, port))
            except ConnectionRefusedError:
                pass
            except OSError:
                return False
            return True
    return one.call(attempt)


def bulk(sender, receiver, address, size=100 * MIB):
    """Sends random bytes over TCP; returns the SHA-256 of both ends."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = receiver.call(
        lambda: socket.create_server((address, 0), family=family))
    got = hosts.Transfer()

    def serve():
        with listener, listener.accept()[0] as s:
            s.settimeout(60)
            hosts.read_all(s, got)
    listener.settimeout(60)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    digest = hashlib.sha256()
    s = sender.call(lambda: socket.create_connection(listener.getsockname()[:2], 30))
    with s:
        s.settimeout(60)
        for block in hosts.payload(size, address):
            digest.update(block)
            s.sendall(block)
        s.shutdown(socket.SHUT_WR)
        thread.join(120)
    return digest.hexdigest(), got.sha256


def has_listener(port):
    """True when somebody listens on the port in this thread's namespace, on any IPv4 address, or on
    any IPv6 one; connects to nobody."""
    found = False
    for table in "tcp", "tcp6":
        with open(f"/proc/thread-self/net/{table}") as lines:
            found |= any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
                         for line in list(lines)[1:])
    return found
