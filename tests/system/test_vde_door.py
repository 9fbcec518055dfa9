# SPDX-License-Identifier: BSD-3-Clause
"""test_vde_door.py - stock VDE programs on our vde: door, as on a vde_switch of their own."""

import contextlib
import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import hosts
import qemu
import sandbox
import tap
import uml
from test_vde_tools import Packets, Stream

RINGPLUG = qemu.BUILD / "tools" / "ringplug"
PATIENCE = 60
ALL = b"\xff" * 6
MACS = [bytes([2, 0, 0, 0, 0, n]) for n in range(1, 6)]
PAGE = b"a page from the host\n"
# 802.3 lengths (LLC, STP's SAP), IPv4, 802.1Q, AppleTalk, MPLS, QinQ, local experiments.
TYPES = [0x0026, 0x05DC, 0x0800, 0x8100, 0x809B, 0x8847, 0x88A8, 0x88B5]


def setup():
    if not RINGPLUG.exists():
        raise qemu.QemuError(f"{RINGPLUG} is not built")
    sandbox.enter()


def frame(to, sender, size, ethertype=0x88B5):
    head = to + sender + struct.pack("!H", ethertype)
    return head + bytes((i * 7 + size) & 0xFF for i in range(size - len(head)))


def eventually(what, why="it never came"):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, why
        time.sleep(0.02)


def answers(path):
    with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(OSError):
        s.connect(path)
        return True
    return False


class Client:
    """A VDE client in this process, which carries frames of any length."""

    def __init__(self, ctl, own):
        self.control = socket.socket(socket.AF_UNIX)
        self.control.settimeout(PATIENCE)
        self.control.connect(ctl)
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.data.bind(own)
        path = own.encode()
        self.control.sendall(struct.pack("=IIIH108s", 0xFEEDFACE, 3, 0, socket.AF_UNIX, path)
                             + b"a test")
        answer = self.control.recv(110)
        self.data.connect(answer[2:].split(b"\0")[0].decode())
        os.unlink(own)
        self.line = Packets(self.data)

    def close(self):
        self.control.close()
        self.data.close()


class _Door(unittest.TestCase):
    uplinks = ()
    options = ""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ringplug-door-"))
        self.path = f"{self.directory}/net"
        self.process = None
        self.bess = f"{self.directory}/bess"
        self.start_switch()
        self._clients = 0

    def start_switch(self):
        arguments = [f"--uplink={u}" for u in self.uplinks] + [f"--door=vde:{self.path}{self.options}"]
        arguments.append(f"--door=seqpacket:{self.bess}")
        self.process = self.start(str(RINGPLUG), "switch", "lan0", *arguments, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
        self.assertEqual(self.process.stdout.readline(), "ready\n")

    def environment(self):
        return dict(qemu.environment(), XDG_RUNTIME_DIR=self.directory)

    def start(self, *command, **more):
        process = subprocess.Popen(qemu.tied(command), env=self.environment(), **more)
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            self.addCleanup(pipe.close)
        self.addCleanup(qemu.stop, process)
        return process

    def ports(self):
        """{name: port} of the switch, its doors left out."""
        return {n: p for n, p in self.all_ports().items() if p["detail"] != "listening"}

    def all_ports(self):
        done = subprocess.run([str(RINGPLUG), "show", "--json", "lan0"], env=self.environment(),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {p["name"]: p for p in json.loads(done.stdout)["ports"]}

    def plug(self, url=None):
        """vde_plug between the switch and its own standard input and output."""
        before = len(self.ports())
        process = self.start("vde_plug", url or f"vde://{self.path}", stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        eventually(lambda: len(self.ports()) == before + 1, "vde_plug did not come in")
        return Stream(process)

    def client(self):
        self._clients += 1
        c = Client(f"{self.path}/ctl", f"{self.directory}/c{self._clients}")
        self.addCleanup(c.close)
        return c.line

    def expect(self, line, wanted):
        self.assertEqual(line.receive(time.monotonic() + PATIENCE), wanted)

    def expect_silence(self, line):
        self.assertIsNone(line.receive(time.monotonic() + 0.2))

    def exchange(self, a, b, sizes, types=(0x88B5,)):
        """Frames of all sizes and types both ways, byte for byte."""
        for size in sizes:
            for kind in types:
                there = frame(ALL, MACS[0], size, kind)
                a.send(there)
                self.expect(b, there)
                back = frame(MACS[0], MACS[1], size, kind)
                b.send(back)
                self.expect(a, back)


class Plugs(_Door):
    def test_frames(self):
        """vde_plug to vde_plug: each ethertype and LLC, up to what their stream carries"""
        a, b = self.plug(), self.plug()
        self.exchange(a, b, [14, 15, 46, 59, 60, 61, 1514, 1518], TYPES)
        self.exchange(a, b, [4000, 9018, 9234])

    def test_long(self):
        """frames of 14 bytes to 64 KiB arrive whole, byte for byte"""
        a, b = self.client(), self.client()
        self.exchange(a, b, [14, 60, 1514, 9018, 16384, 32768, 65000, 65535, 65557], TYPES)
        ports = self.ports()["a test"]
        self.assertEqual(ports["counters"]["drop.truncated"], 0)

    def test_learns(self):
        """a third client gets no copy of what is for another"""
        a, b, c = self.client(), self.plug(), self.client()
        self.exchange(a, b, [60])
        self.expect(c, frame(ALL, MACS[0], 60))
        a.send(frame(MACS[1], MACS[0], 100))
        self.expect(b, frame(MACS[1], MACS[0], 100))
        self.expect_silence(c)

    def test_names(self):
        """the description is the port's name; a port number is asked for"""
        self.plug(f"vde://{self.path}[port=7]")
        (name, port), = self.ports().items()
        self.assertIn("vdeplug", name)
        self.assertIn("process", port["detail"])

    def test_leaving(self):
        """who ends, however it does, takes its port along"""
        a, b = self.plug(), self.plug()
        a.process.kill()
        b.process.stdin.close()
        eventually(lambda: not self.ports(), "their ports stay")
        self.assertEqual(os.listdir(self.path), ["ctl"])

    def test_dpipe(self):
        """dpipe vde_plug = vde_plug joins two switches of ours"""
        first, path = self.client(), self.path
        self.path = f"{self.directory}/other"
        other = self.start(str(RINGPLUG), "switch", "lan1", f"--door=vde:{self.path}", text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(other.stdout.readline(), "ready\n")
        second = self.client()
        self.start("dpipe", "vde_plug", f"vde://{path}", "=", "vde_plug", f"vde://{self.path}",
                   stdin=subprocess.DEVNULL)
        eventually(lambda: any("vdeplug" in n for n in self.ports()), "vde_plug did not come in")
        hello = frame(ALL, MACS[0], 60)
        end = time.monotonic() + PATIENCE
        while second.receive(time.monotonic() + 0.2) != hello:
            self.assertLess(time.monotonic(), end)
            first.send(hello)
        while second.receive(time.monotonic() + 0.3):
            pass
        self.exchange(first, second, [60, 1514, 9018], TYPES)

    def test_beside_vde_switch(self):
        """vde_plug OURS vde_switch's joins ours and a vde_switch"""
        theirs = f"{self.directory}/theirs"
        self.start("vde_switch", "-s", theirs, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
        eventually(lambda: answers(f"{theirs}/ctl"))
        ours = self.client()
        self.start("vde_plug", f"vde://{self.path}", f"vde://{theirs}", stdin=subprocess.DEVNULL)
        far = Stream(self.start("vde_plug", f"vde://{theirs}", stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE))
        hello = frame(ALL, MACS[0], 60)
        end = time.monotonic() + PATIENCE
        while far.receive(time.monotonic() + 0.2) != hello:
            self.assertLess(time.monotonic(), end)
            ours.send(hello)
        while far.receive(time.monotonic() + 0.3):
            pass
        # An access port of vde_switch takes no tagged frames.
        self.exchange(ours, far, [60, 1514], [t for t in TYPES if t != 0x8100])


class Cables(_Door):
    """The switch with a door is joined by another of ours, whose uplink is under test."""

    def setUp(self):
        super().setUp()
        self.near, self.near_path = None, f"{self.directory}/near"

    def join(self, uplink, **more):
        """Starts the other switch; returns a client of it."""
        self.near = self.start(str(RINGPLUG), "switch", "near", f"--uplink={uplink}",
                               f"--door=vde:{self.near_path}", text=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        self.assertEqual(self.near.stdout.readline(), "ready\n")
        return self.near_client()

    def near_client(self):
        path, self.path = self.path, self.near_path
        try:
            return self.client()
        finally:
            self.path = path

    def until_joined(self, a, b):
        """Frames pass from a to b again; what else waits at b is dropped."""
        hello = frame(ALL, MACS[4], 60)
        end = time.monotonic() + PATIENCE
        while b.receive(time.monotonic() + 0.1) != hello:
            self.assertLess(time.monotonic(), end, "the cable does not come back")
            a.send(hello)
        while b.receive(time.monotonic() + 0.2):
            pass

    def test_ours(self):
        """vde:PATH joins two switches of ours: frames of up to 64 KiB, byte for byte"""
        a, b = self.join(f"vde:{self.path}"), self.client()
        self.exchange(a, b, [14, 60, 1514, 9018, 65557], TYPES)
        self.assertIn("ringplug", list(self.ports())[0])

    def test_no_network(self):
        """vde:PATH without a switch there is refused, with its name"""
        done = subprocess.run([str(RINGPLUG), "switch", "near", "--uplink=vde:/nonexistent/net"],
                              env=self.environment(), stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("vde:/nonexistent/net: libvdeplug can't open it: No such file", done.stderr)
        done = subprocess.run([str(RINGPLUG), "switch", "near", "--uplink=vde:nosuch://x"],
                              env=self.environment(), stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, text=True)
        self.assertIn("no module of that name", done.stderr)

    def test_wait(self):
        """vde:PATH?wait=on starts first, and joins when the switch is there"""
        self.process.terminate()
        self.process.wait(PATIENCE)
        a = self.join(f"vde:{self.path}?wait=on")
        self.start_switch()
        b = self.client()
        self.until_joined(a, b)
        self.exchange(a, b, [60, 1514])

    def test_restarts(self):
        """a cable to a switch of ours that is killed and started again comes back each time"""
        a, b = self.join(f"vde:{self.path}"), self.client()
        for _ in range(3):
            self.exchange(a, b, [60])
            self.process.kill()
            self.process.wait()
            for _ in range(20):
                a.send(frame(ALL, MACS[0], 1514))
            self.start_switch()
            b = self.client()
            self.until_joined(a, b)
        self.exchange(a, b, [60, 1514], TYPES)

    def vde_switch(self, path):
        process = self.start("vde_switch", "-s", path, stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: answers(f"{path}/ctl"))
        return process

    def test_vde_switch(self):
        """a cable to vde_switch 2.3.2, which is killed and started again under traffic"""
        path = f"{self.directory}/theirs"
        theirs = self.vde_switch(path)
        a = self.join(f"vde:{path}")
        for _ in range(3):
            far = Client(f"{path}/ctl", f"{self.directory}/far")
            self.until_joined(a, far.line)
            self.exchange(a, far.line, [60, 1514], [t for t in TYPES if t != 0x8100])
            for _ in range(200):
                a.send(frame(ALL, MACS[0], 1514))
            theirs.kill()
            theirs.wait()
            far.close()
            for _ in range(200):
                a.send(frame(ALL, MACS[0], 1514))
            theirs = self.vde_switch(path)
        # All this time the switch served its own.
        other = self.near_client()
        self.exchange(a, other, [60])

    def test_udp(self):
        """vde:udp://, a module that knows no switch, joins two of ours"""
        ports = []
        for _ in range(2):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind(("127.0.0.1", 0))
                ports.append(s.getsockname()[1])
        here, there = ports
        a = self.join(f"vde:udp://{here}->127.0.0.1:{there}")
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.uplinks = (f"vde:udp://{there}->127.0.0.1:{here}",)
        self.start_switch()
        b = self.client()
        self.until_joined(a, b)
        self.exchange(a, b, [60, 1514, 9018], TYPES)

    def test_command(self):
        """vde:cmd://vde_plug URL: the stream framing to stock vde_plug at the far end"""
        a, b = self.join(f"vde:cmd://vde_plug vde://{self.path}"), self.client()
        self.until_joined(a, b)
        self.exchange(a, b, [60, 1514, 9018], TYPES)
        # The command's end is the network's; it is started again.
        self.process.kill()
        self.process.wait()
        self.start_switch()
        b = self.client()
        self.until_joined(a, b)
        self.near.terminate()
        self.assertEqual(self.near.wait(PATIENCE), 0)

    def test_ends(self):
        """a switch with a cable ends when it is told to, whatever state the cable is in"""
        self.join(f"vde:{self.path}")
        self.near.terminate()
        self.assertEqual(self.near.wait(PATIENCE), 0)
        self.assertEqual(self.near.stderr.read(), "")
        eventually(lambda: not self.ports(), "its port stays")


class Servers(_Door):
    def test_second(self):
        """a second switch on the path is told who is there, and disturbs nobody"""
        a, b = self.client(), self.client()
        done = subprocess.run([str(RINGPLUG), "switch", "lan1", f"--door=vde:{self.path}"],
                              env=self.environment(), stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"process {self.process.pid} listens on {self.path}/ctl", done.stderr)
        self.exchange(a, b, [60])

    def test_vde_switch_second(self):
        """a vde_switch does not take the path away from us"""
        done = subprocess.run(["vde_switch", "-s", self.path], stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.exchange(self.client(), self.client(), [60])

    def test_killed(self):
        """what a killed switch leaves is replaced by the next"""
        self.client()
        self.process.kill()
        self.process.wait()
        self.assertIn("ctl", os.listdir(self.path))
        self.start_switch()
        self.assertEqual(os.listdir(self.path), ["ctl"])
        self.exchange(self.client(), self.client(), [60])

    def test_after_vde_switch(self):
        """what a killed vde_switch leaves is replaced too"""
        self.path = f"{self.directory}/old"
        old = self.start("vde_switch", "-s", self.path, stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL)
        eventually(lambda: answers(f"{self.path}/ctl"))
        self.client()
        old.kill()
        old.wait()
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.start_switch()
        self.assertEqual(os.listdir(self.path), ["ctl"])

    def test_ends(self):
        """an ended switch leaves neither socket nor folder, and its clients see the end"""
        c = Client(f"{self.path}/ctl", f"{self.directory}/c")
        self.addCleanup(c.close)
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertEqual(self.process.stderr.read(), "")
        self.assertFalse(os.path.exists(self.path))
        self.assertEqual(c.control.recv(1), b"")


class Emulators(_Door):
    def test_qemu(self):
        """QEMU -netdev vde,sock=PATH: frames of up to 60 KB both ways"""
        # Its hub joins the VDE port to a UDP socket of ours; no guest is needed.
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(udp.close)
        udp.bind(("127.0.0.1", 0))
        probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        probe.bind(("127.0.0.1", 0))
        theirs = probe.getsockname()
        probe.close()
        udp.connect(theirs)
        ours = udp.getsockname()
        self.start(qemu.QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-M", "none",
                   "-netdev", f"vde,id=v,sock={self.path}",
                   "-netdev", f"socket,id=u,udp=127.0.0.1:{ours[1]},localaddr=127.0.0.1:{theirs[1]}",
                   "-netdev", "hubport,id=h0,hubid=0,netdev=v",
                   "-netdev", "hubport,id=h1,hubid=0,netdev=u", stdin=subprocess.DEVNULL)
        eventually(lambda: len(self.ports()) == 1, "QEMU did not come in")
        self.exchange(Packets(udp), self.client(), [60, 1514, 9018, 60000], TYPES)


class Bochs(_Door):
    # Its name for a device has 15 bytes; it aborts at one of more.
    alias = f"/tmp/rp{os.getpid() % 100000:05}"
    options = f"?sock={alias}"

    def test_comes_and_goes(self):
        """Bochs ethmod=vde, ethdev=PATH2 comes in by its abstract socket, and leaves"""
        if not shutil.which("bochs"):
            self.skipTest("bochs is not installed (bochs, bochs-term)")
        rc = pathlib.Path(self.directory) / "bochsrc"
        rc.write_text("romimage: file=/usr/share/bochs/BIOS-bochs-latest\n"
                      "vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
                      "megs: 32\ndisplay_library: term\nboot: floppy\n"
                      "pci: enabled=1, chipset=i440fx, slot1=e1000\n"
                      "e1000: enabled=1, mac=52:54:00:12:34:57, ethmod=vde, "
                      f"ethdev={self.alias}\n"
                      f"log: {self.directory}/bochs.log\npanic: action=fatal\n")
        # Debian's has the debugger built in, which waits for a command.
        go = pathlib.Path(self.directory) / "go"
        go.write_text("c\n")
        # With memory that is not zero its module aborts now and then.
        bochs = self.start("env", "-u", "MALLOC_PERTURB_", "TERM=xterm",
                           "bochs", "-q", "-f", str(rc), "-rc", str(go),
                           stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: len(self.ports()) == 1)
        except AssertionError:
            log = pathlib.Path(self.directory) / "bochs.log"
            said = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
            self.fail(f"Bochs ({bochs.poll()}) did not come in: {said}")
        self.assertEqual(list(self.ports()), [f"vde:{bochs.pid}"])
        bochs.kill()
        bochs.wait()
        eventually(lambda: not self.ports(), "its port stays")
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(self.alias))


class Guests(_Door):
    uplinks = ("slirp",)

    def setUp(self):
        super().setUp()
        self.http = hosts.Http({"/page": PAGE})
        self.addCleanup(self.http.close)

    def script(self, device):
        return (f"udhcpc -i {device} -n -q -f -t 10 -T 1 -s SCRIPT; "
                f"wget -q -O - http://10.0.2.2:{self.http.port}/page")

    def test_vdens(self):
        """vdens PATH: DHCP and a page through slirp"""
        done = subprocess.run(["vdens", "no", "true"], timeout=20, stdin=subprocess.DEVNULL,
                              capture_output=True)
        if done.returncode != 0:
            self.skipTest(f"vdens can't work here: {done.stderr.decode().strip()}")
        if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
            self.skipTest("/dev/net/tun is not accessible")
        dhcp = pathlib.Path(self.directory) / "dhcp"
        dhcp.write_text("#!/bin/busybox sh\n[ \"$1\" = bound ] || exit 0\n"
                        "ip addr add \"$ip/24\" dev vde0\n"
                        "ip route add default via \"$router\"\necho \"lease=$ip\"\n")
        dhcp.chmod(0o755)
        os.chmod(self.directory, 0o755)
        script = "ip link set vde0 up; " + self.script("vde0").replace("SCRIPT", str(dhcp))
        process = self.start("vdens", f"vde://{self.path}", "busybox", "sh", "-c",
                             script + "; sleep 1", stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
        try:
            said = process.communicate(timeout=60)[0]
        except BaseException:
            os.killpg(process.pid, 9)
            raise
        self.assertIn("lease=10.0.2.15", said)
        self.assertTrue(said.endswith(PAGE.decode()), said)

    def uml(self, network):
        why = uml.available()
        if why:
            self.skipTest(why)
        try:
            said = uml.run(network, self.script("eth0").replace("SCRIPT", "/dhcp"))
        except uml.Unable as why:
            if network.startswith("daemon"):  # it connects when the kernel starts
                door = self.all_ports()[f"vde:{self.path}"]
                self.assertEqual(door["counters"]["door.joined"], 1)
                self.skipTest(f"{why}; its kernel came in at the door and left")
            self.skipTest(str(why))
        self.assertIn("lease=10.0.2.15", said)
        self.assertTrue(said.endswith(PAGE.decode()), said)

    def test_uml_daemon(self):
        """User-mode Linux eth0=daemon,MAC,unix,PATH/ctl: DHCP and a page through slirp"""
        self.uml(f"daemon,52:54:00:12:34:56,unix,{self.path}/ctl")

    def test_uml_bess(self):
        """User-mode Linux vec0:transport=bess,dst=SOCKET on a seqpacket door"""
        why = uml.available()
        if why:
            self.skipTest(why)
        script = "ip link set vec0 up; " + self.script("vec0").replace("SCRIPT", "/dhcp")
        try:
            said = uml.run(f"transport=bess,dst={self.bess},mac=52:54:00:12:34:56", script,
                           device="vec0:")
        except uml.Unable as why:
            self.skipTest(str(why))
        self.assertIn("lease=10.0.2.15", said)
        self.assertTrue(said.endswith(PAGE.decode()), said)

    def test_uml_vde(self):
        """User-mode Linux eth0=vde,PATH: DHCP and a page through slirp"""
        self.uml(f"vde,{self.path},52:54:00:12:34:56")


if __name__ == "__main__":
    tap.main(setup)
