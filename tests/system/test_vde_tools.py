# SPDX-License-Identifier: BSD-3-Clause
"""test_vde_tools.py - vde_plug and vdens, two programs of libvdeplug, use ringplug://slirp."""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import guest
import hosts
import qemu
import sandbox
import tap

NETWORK = "ringplug://slirp"
OUR_MAC = bytes.fromhex("525400abcdef")
BROADCAST = b"\xff" * 6
PAGE = b"a page from the host\n"


def setup():
    if not qemu.PLUGIN.exists() and os.environ.get("RINGPLUG_REQUIRE") != "1":
        raise unittest.SkipTest("libvdeplug_ringplug.so is not built")
    if not qemu.PLUGIN.exists():
        raise qemu.QemuError(f"{qemu.PLUGIN} is not built")
    sandbox.enter()


def arp_request(target, sender="10.0.2.15"):
    address = socket.inet_aton
    return (BROADCAST + OUR_MAC + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1)
            + OUR_MAC + address(sender) + bytes(6) + address(target)).ljust(60, b"\0")


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def dhcp_discover(xid):
    bootp = struct.pack("!BBBBIHH16x6s202xI", 1, 1, 6, 0, xid, 0, 0x8000, OUR_MAC, 0x63825363)
    bootp = (bootp + bytes([53, 1, 1, 55, 3, 1, 3, 6, 255])).ljust(300, b"\0")
    udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, bytes(4),
                     BROADCAST[:4])
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return BROADCAST + OUR_MAC + struct.pack("!H", 0x0800) + ip + udp


def is_arp_reply(frame):
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02"


def is_offer(frame, xid):
    """Whether this is a DHCP answer to that request, offering 10.0.2.15."""
    bootp = frame[42:]
    return (frame[12:14] == b"\x08\0" and frame[23] == 17 and len(bootp) > 240 and bootp[0] == 2
            and bootp[4:8] == struct.pack("!I", xid)
            and bootp[16:20] == socket.inet_aton("10.0.2.15"))


class Stream:
    """Frames over a program's standard input and output, each after its length in two bytes."""

    def __init__(self, process):
        self.process = process
        self._buffer = b""

    def send(self, frame):
        self.process.stdin.write(struct.pack("!H", len(frame)) + frame)
        self.process.stdin.flush()

    def receive(self, deadline):
        """The next frame, or None when the time is over."""
        fd = self.process.stdout.fileno()
        while True:
            if len(self._buffer) >= 2:
                end = 2 + struct.unpack_from("!H", self._buffer)[0]
                if len(self._buffer) >= end:
                    frame, self._buffer = self._buffer[2:end], self._buffer[end:]
                    return frame
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                return None
            data = os.read(fd, 65536)
            if not data:
                raise AssertionError("the stream has ended")
            self._buffer += data


class Packets:
    """Frames over a socket that keeps them apart."""

    def __init__(self, sock):
        self._socket = sock

    def send(self, frame):
        self._socket.send(frame)

    def receive(self, deadline):
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        with contextlib.suppress(TimeoutError):
            return self._socket.recv(1 << 17)
        return None


class _Tools(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="ringplug-vde-")
        self.addCleanup(temporary.cleanup)
        self.directory = temporary.name

    def with_others(self):
        """An environment for ringplug beside the plugins of the system."""
        # VDEPLUGIN_PATH would hide those. Without it libvdeplug looks in the system's folder, then
        # in LD_LIBRARY_PATH's vdeplug.
        link = f"{self.directory}/vdeplug"
        if not os.path.islink(link):
            os.symlink(qemu.PLUGIN_DIR, link)
        env = dict(qemu.environment(), LD_LIBRARY_PATH=self.directory)
        del env["VDEPLUGIN_PATH"]
        return env

    def start(self, *command, env=None, **more):
        process = subprocess.Popen(qemu.tied(command), env=env or qemu.environment(), **more)
        for pipe in filter(None, (process.stdin, process.stdout)):
            self.addCleanup(pipe.close)
        self.addCleanup(qemu.stop, process)
        return process

    def plug(self, *urls, env=None):
        """vde_plug between a network and its own standard input and output."""
        return Stream(self.start("vde_plug", *urls, env=env, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE))

    def ask(self, line, request, wanted, seconds=15):
        """Sends a frame each half second until a wanted answer comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            line.send(request)
            again = time.monotonic() + 0.5
            while frame := line.receive(again):
                if wanted(frame):
                    return frame
        self.fail(f"no answer within {seconds} s")

    def converse(self, line):
        offer = self.ask(line, dhcp_discover(77), lambda f: is_offer(f, 77))
        self.assertEqual(offer[26:30], socket.inet_aton("10.0.2.2"))
        reply = self.ask(line, arp_request("10.0.2.2"), is_arp_reply)
        self.assertEqual(reply[6:12], bytes.fromhex("52550a000202"))


class VdePlug(_Tools):
    def test_stream(self):
        """vde_plug URL: DHCP and ARP over its standard input and output"""
        self.converse(self.plug(NETWORK))

    def test_idle(self):
        """vde_plug URL: stays when nothing comes, and still works after that"""
        line = self.plug(NETWORK)
        self.converse(line)
        time.sleep(3)
        self.assertIsNone(line.process.poll())
        self.converse(line)

    def test_end(self):
        """vde_plug URL: ends with 0 when its input ends"""
        line = self.plug(NETWORK)
        self.converse(line)
        line.process.stdin.close()
        self.assertEqual(line.process.wait(10), 0)

    def test_command(self):
        """vde_plug URL = command: the command is the other end"""
        # The command is a second vde_plug between this stream and a UNIX socket that we hold.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            process = self.start("vde_plug", NETWORK, "=",
                                 "vde_plug", f"seqpacket://{theirs.fileno()}",
                                 env=self.with_others(), pass_fds=[theirs.fileno()],
                                 stdin=subprocess.DEVNULL)
            theirs.close()
            self.converse(Packets(ours))
            self.assertIsNone(process.poll())

    def test_seqpacket(self):
        """vde_plug seqpacket://FD URL: as User-mode Linux starts it"""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            process = self.start("vde_plug", f"seqpacket://{theirs.fileno()}", NETWORK,
                                 env=self.with_others(), pass_fds=[theirs.fileno()],
                                 stdin=subprocess.DEVNULL)
            theirs.close()
            line = Packets(ours)
            self.converse(line)
            time.sleep(2)
            self.assertIsNone(process.poll(), "ended while idle")
            self.converse(line)

    def test_joined_to_switch(self):
        """vde_plug URL URL: two machines on a vde_switch share one ringplug"""
        switch = f"{self.directory}/switch"
        self.start("vde_switch", "-s", switch, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
        for _ in range(50):
            if os.path.exists(f"{switch}/ctl"):
                break
            time.sleep(0.1)
        env = self.with_others()
        url = f"vde://{switch}"
        joint = self.start("vde_plug", NETWORK, url, env=env, stdin=subprocess.DEVNULL)
        first, second = self.plug(url, env=env), self.plug(url, env=env)
        self.converse(first)
        self.ask(second, arp_request("10.0.2.3", "10.0.2.16"), is_arp_reply)
        time.sleep(2)
        self.assertIsNone(joint.poll(), "ended while idle")
        self.converse(first)

    def test_refusal(self):
        """a wrong option ends vde_plug, and what is wrong is said"""
        done = subprocess.run(qemu.tied(["vde_plug", f"{NETWORK}?nosuchkey=1"]), timeout=20,
                              env=qemu.environment(), stdin=subprocess.DEVNULL, capture_output=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"nosuchkey", done.stderr)


class Vdens(_Tools):
    @classmethod
    def setUpClass(cls):
        # It makes a user namespace and a tap in it; some containers forbid the one or the other.
        done = subprocess.run(["vdens", "no", "true"], timeout=20, stdin=subprocess.DEVNULL,
                              capture_output=True)
        if done.returncode != 0:
            raise unittest.SkipTest(f"vdens can't work here: {done.stderr.decode().strip()}")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            raise unittest.SkipTest("/dev/net/tun is not accessible")

    def vdens(self, script, network=NETWORK):
        """Runs a shell script in a namespace on the network; returns what it printed."""
        # vdens 0.2 blocks SIGCHLD only while it waits for frames and misses a command that ends
        # while it moves one: so the script ends a second after its last.
        script += "; sleep 1"
        process = self.start("vdens", network, "busybox", "sh", "-c", script, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True)
        try:
            said = process.communicate(timeout=60)[0]
        except BaseException:
            # It moves frames in a child of its own, which would outlive it.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        self.assertEqual(process.returncode, 0, said)
        return said

    def lease(self):
        """Shell text that brings vde0 up with DHCP."""
        script = f"{self.directory}/dhcp"
        with open(script, "w") as f:
            f.write("#!/bin/busybox sh\n"
                    "[ \"$1\" = bound ] || exit 0\n"
                    "ip addr add \"$ip/24\" dev vde0\n"
                    "ip route add default via \"$router\"\n"
                    "echo \"lease=$ip\"\n")
        os.chmod(script, 0o755)
        os.chmod(self.directory, 0o755)
        return f"set -e; ip link set vde0 up; udhcpc -i vde0 -n -q -f -t 10 -T 1 -s {script} 2>&1; "

    def test_page(self):
        """vdens URL: DHCP, then a page from the host"""
        with hosts.Http({"/page": PAGE}) as http:
            said = self.vdens(self.lease() + f"wget -q -O - http://10.0.2.2:{http.port}/page")
        self.assertIn(f"lease={guest.ADDRESS4}\n", said)
        self.assertTrue(said.endswith(PAGE.decode()), said)

    def test_intact(self):
        """vdens URL: 8 MiB from the host, with the right SHA-256, and after some idle seconds"""
        size = 8 << 20
        blob = b"".join(hosts.payload(size, "vdens"))
        with hosts.Http({"/blob": blob}) as http:
            said = self.vdens(self.lease() + "sleep 3; "
                              f"wget -q -O - http://10.0.2.2:{http.port}/blob | sha256sum")
        self.assertIn(hosts.payload_sha256(size, "vdens"), said)


if __name__ == "__main__":
    tap.main(setup)
